import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";

import { arriveAtPage } from "../../testing/account-page.ts";
import { mailedToken, postForm, signIn, startTestBroker, type TestBroker } from "../../testing/broker.ts";
import { CHROMIUM, hasChromium, launchChromium } from "../../testing/chromium.ts";

const RTL = "\u202e";
/** The longest address there is (RFC 5321), in a local part and labels of the longest. */
const longEmail = `${"l".repeat(64)}@${["a", "b"].map((x) => x.repeat(63)).join(".")}.${"c".repeat(55)}.com`.slice(
  0,
  254,
);
const oddEmail = `o'{|}~&amp;@xn--bcher-kva.example`.replace("amp;", "");
const script = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">`;

describe.skipIf(!hasChromium)(`words that strangers chose (skipped where ${CHROMIUM} is missing)`, () => {
  let broker: TestBroker;
  let browser: Browser;
  beforeAll(async () => {
    [broker, browser] = await Promise.all([startTestBroker(), launchChromium()]);
  });
  afterAll(async () => {
    await browser.close();
    await broker.close();
  });

  /** Fails where a page ran what somebody else wrote, shows what cannot be seen, or is wider than a phone. */
  async function expectHarmless(page: Page, where: string): Promise<void> {
    expect(await page.title(), where).not.toContain("owned");
    expect(await page.locator("main img, main script, main iframe").count(), where).toBe(0);
    expect(await page.content(), where).not.toMatch(/[\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(await page.evaluate(() => document.documentElement.scrollWidth), where).toBeLessThanOrEqual(360);
  }

  /** Pages of a person whose machine, identities and history have these words in them. */
  async function everyPlace(email: string, words: string): Promise<void> {
    const key = await signIn(broker, email, { bound: false });
    const { login } = broker.clients();
    const started = await login.startEmailLogin({ email, deviceName: words.slice(0, 64).replace("\u0007", "") });
    await postForm(broker, "confirm", mailedToken(broker, email));
    await login.awaitLogin({ loginId: started.loginId, loginSecret: started.loginSecret });
    // What a provider or a passkey may be called, and what stands in a history that another version wrote.
    const quoted = words.replaceAll("'", "''");
    const other = `${key.omniAccount.slice(0, 60)}abcd`;
    broker.sql(`
      INSERT INTO identity (omni_account, type, value, display_name, anchor, linked_at, last_used_at)
        VALUES ('${other}', 'oauth2', 'https://idp.example|${quoted}', '${quoted}', '${key.omniAccount}', 1, 1);
      INSERT INTO audit_event (occurred_at, anchor, action, outcome, session_id, source_address, request_id, subject)
        VALUES (1, '${key.omniAccount}', 'identity.linked', 'ok', '', '192.0.2.1', 'r', '${quoted}'),
               (1, '${key.omniAccount}', 'oidc.minted', 'AUDIENCE_NOT_ALLOWED', '', '192.0.2.1', 'r', '${quoted}');
      UPDATE session SET last_audience = '${quoted}' WHERE anchor = '${key.omniAccount}'`);
    const context = await browser.newContext({ viewport: { width: 360, height: 740 } });
    try {
      const page = await context.newPage();
      await arriveAtPage(broker, page, email);
      await expectHarmless(page, "account");
      const text = await page.locator("main").innerText();
      expect(text).toContain(email);
      const hrefs = await page
        .getByRole("link", { name: /^(Take off|End)/ })
        .evaluateAll((links) => links.map((link) => (link as HTMLAnchorElement).href));
      expect(hrefs.length).toBeGreaterThanOrEqual(4);
      for (const path of [...hrefs, `${broker.url}/account/events`, `${broker.url}/account/prove`]) {
        await page.goto(path);
        await expectHarmless(page, path);
      }
      for (const purpose of [LoginPurpose.SIGN_IN, LoginPurpose.LINK, LoginPurpose.STEP_UP]) {
        await login.startEmailLogin({ email, deviceName: words.slice(0, 64).replace("\u0007", ""), purpose });
        await page.goto("about:blank");
        await page.goto(`${broker.url}/login#${mailedToken(broker, email)}`);
        await page.waitForURL("**/login/review");
        await expectHarmless(page, "review");
        expect(await page.locator("dl").innerText()).toContain(email);
        await page.getByRole("button", { name: "Yes" }).click();
        await page.waitForURL("**/login/confirm");
        await expectHarmless(page, "confirmed");
        const mail = broker.devMailbox?.list()[0];
        await page.goto("about:blank");
        await page.setContent(mail?.html ?? "");
        await expectHarmless(page, "mail");
      }
      await page.goto(`${broker.url}/dev/mailbox`);
      await expectHarmless(page, "mailbox");
    } finally {
      await context.close();
    }
  }

  test.each([
    ["markup", "markup@example.com", script],
    ["attributes", "attributes@example.com", `" onmouseover="document.title='owned'" x='`],
    ["letters that turn the line", "rtl@example.com", `${RTL}moc.elpmaxe@live \u2066\u200b\u0007 مرحبا`],
    ["the longest words", longEmail, "W".repeat(254)],
    ["an odd address", oddEmail, "{{constructor.constructor('x')()}} ${7*7} %3Cscript%3E"],
  ])(
    "are text wherever they stand: %s",
    async (_, email, words) => {
      await everyPlace(email, words);
    },
    90_000,
  );
});
