import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { presentSession } from "@agentkeys/lib/session";

import { type Person, reasonOf, signIn, startTestBroker, testKey, type TestBroker } from "../testing/broker.ts";
import { CHROMIUM, hasChromium, launchChromium } from "../testing/chromium.ts";
import { addAuthenticator, type VirtualAuthenticator } from "../testing/virtual-authenticator.ts";

describe.skipIf(!hasChromium)(`passkeys in a real browser (skipped where ${CHROMIUM} is missing)`, () => {
  let broker: TestBroker;
  let browser: Browser;
  beforeAll(async () => {
    [broker, browser] = await Promise.all([startTestBroker({ named: true }), launchChromium()]);
  });
  afterAll(async () => {
    await browser.close();
    await broker.close();
  });
  let person: Person;
  let count = 0;
  beforeEach(async () => {
    person = await signIn(broker, `person-${++count}@example.com`);
  });

  async function start(purpose: LoginPurpose, key = person.key) {
    const { login } = broker.clients(key && presentSession({ key }));
    const started = await login.startPasskeyLogin({ deviceName: "ada's laptop", purpose });
    const held = { loginId: started.loginId, loginSecret: started.loginSecret };
    return { ...started, held, collect: () => login.awaitLogin(held, { timeoutMs: 1200 }) };
  }

  /** A person's browser, with an authenticator built in. */
  interface Visitor extends VirtualAuthenticator {
    page: Page;
    /** Opens the page behind a link, up to the button. */
    open: (pageUrl: string) => Promise<void>;
    press: () => Promise<void>;
    said: () => Promise<string>;
  }

  interface AuthenticatorTraits {
    verifies?: boolean;
    javaScriptEnabled?: boolean;
  }

  async function browse(
    visit: (visitor: Visitor) => Promise<void>,
    { verifies = true, javaScriptEnabled = true }: AuthenticatorTraits = {},
  ): Promise<void> {
    const context = await browser.newContext({ javaScriptEnabled, viewport: { width: 360, height: 740 } });
    const page = await context.newPage();
    const { cdp, authenticatorId } = await addAuthenticator(page, { verifies });
    const strangers: string[] = [];
    const complaints: string[] = [];
    page.on("request", (request) => {
      if (new URL(request.url()).port !== new URL(broker.url).port) strangers.push(request.url());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    await visit({
      page,
      cdp,
      authenticatorId,
      open: async (pageUrl) => {
        await page.goto("about:blank");
        await page.goto(pageUrl);
        await page.waitForURL("**/login/review");
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
      },
      press: () => page.locator("form[data-passkey] button").click(),
      said: async () => {
        await page.waitForFunction(
          () => !document.querySelector("form[data-passkey] button")?.hasAttribute("disabled"),
        );
        return page.getByRole("status").innerText();
      },
    });
    expect(strangers).toEqual([]);
    expect(complaints).toEqual([]);
    await context.close();
  }

  /** Makes a passkey in this browser and links it to the person's account. */
  async function link({ page, open, press }: Visitor): Promise<string> {
    const login = await start(LoginPurpose.LINK);
    await open(login.pageUrl);
    await press();
    await page.getByRole("heading", { name: "Your passkey is made" }).waitFor();
    const { identity } = await person.clients.account.linkIdentity(login.held);
    return identity?.value ?? "";
  }

  test("one is made and linked, signs a new machine in, and proves its person anew", async () => {
    await browse(async (visitor) => {
      const { page, cdp, authenticatorId, open, press } = visitor;
      const value = await link(visitor);
      const { credentials } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
      expect(credentials).toMatchObject([{ isResidentCredential: true, rpId: "localhost" }]);
      expect(Buffer.from(credentials[0]?.credentialId ?? "", "base64").toString("base64url")).toBe(value);

      const entry = await start(LoginPurpose.SIGN_IN, await testKey(broker.clock));
      await open(entry.pageUrl);
      await page.getByText(entry.userCode).waitFor();
      await page.getByText("ada's laptop").waitFor();
      await press();
      await page.getByRole("heading", { name: "Signed in" }).waitFor();
      expect(page.url()).not.toContain(new URL(entry.pageUrl).hash.slice(1));
      expect((await entry.collect()).omniAccount).toBe(person.omniAccount);

      const again = await start(LoginPurpose.STEP_UP);
      await open(again.pageUrl);
      await page.getByText("Proving anew who you are").waitFor();
      await press();
      await page.getByRole("heading", { name: "That was you" }).waitFor();
      await person.clients.account.stepUp(again.held);
      const { identities } = await person.clients.account.listIdentities({});
      expect(identities.at(-1)?.displayName).toMatch(/^Passkey made on Linux, \d{4}-\d\d-\d\d$/);
    });
  });

  test("by the keyboard alone", async () => {
    await browse(async (visitor) => {
      const { page, open } = visitor;
      await link(visitor);
      const entry = await start(LoginPurpose.SIGN_IN);
      await open(entry.pageUrl);
      const reached: (string | undefined)[] = [];
      for (let i = 0; i < 3; i++) {
        await page.keyboard.press("Tab");
        reached.push(await page.evaluate(() => document.activeElement?.textContent.trim()));
      }
      expect(reached).toEqual(["AgentKeys", "Yes, sign in with a passkey", "No, this is not me"]);
      await page.keyboard.press("Shift+Tab");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "Signed in" }).waitFor();
    });
  });

  test("a No is one, and the link leads to no Yes from then on", async () => {
    await browse(async (visitor) => {
      const { page, open } = visitor;
      await link(visitor);
      const entry = await start(LoginPurpose.SIGN_IN);
      await open(entry.pageUrl);
      await page.getByRole("button", { name: "No, this is not me" }).click();
      await page.getByRole("heading", { name: "Refused" }).waitFor();
      expect(await reasonOf(entry.collect())).toBe("LOGIN_REFUSED");
      await open(entry.pageUrl);
      await page.getByRole("heading", { name: "This sign-in was refused" }).waitFor();
    });
  });

  test("an authenticator that does not check its person makes none, and signs in nobody", async () => {
    await browse(
      async ({ page, open, press, said }) => {
        const login = await start(LoginPurpose.LINK);
        await open(login.pageUrl);
        await press();
        expect(await said()).toContain("Nothing was signed");
        await page.getByRole("button", { name: "Yes, make a passkey" }).waitFor();
        expect(await reasonOf(person.clients.account.linkIdentity(login.held))).toBe("LOGIN_PENDING");
      },
      { verifies: false },
    );
    await browse(async (visitor) => {
      const { cdp, authenticatorId, open, press, said } = visitor;
      await link(visitor);
      await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
      const entry = await start(LoginPurpose.SIGN_IN);
      await open(entry.pageUrl);
      await press();
      expect(await said()).toContain("Nothing was signed");
      expect(await reasonOf(entry.collect())).toBe("LOGIN_PENDING");
    });
  });

  test("a passkey that is linked nowhere, and one that counts back, are told so on the page, and another try is free", async () => {
    await browse(async (visitor) => {
      const { page, cdp, authenticatorId, open, press, said } = visitor;
      const made = await start(LoginPurpose.LINK);
      await open(made.pageUrl);
      await press();
      await page.getByRole("heading", { name: "Your passkey is made" }).waitFor();
      const entry = await start(LoginPurpose.SIGN_IN);
      await open(entry.pageUrl);
      await press();
      expect(await said()).toContain("linked to no account");
      await person.clients.account.linkIdentity(made.held);
      await press();
      await page.getByRole("heading", { name: "Signed in" }).waitFor();

      const { credentials } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
      const [copy] = credentials;
      if (copy === undefined) throw new Error("no passkey was made");
      await cdp.send("WebAuthn.removeCredential", { authenticatorId, credentialId: copy.credentialId });
      await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: { ...copy, signCount: 0 } });
      const copied = await start(LoginPurpose.SIGN_IN);
      await open(copied.pageUrl);
      await press();
      expect(await said()).toContain("somebody may have a copy");
      const { events } = await person.clients.account.listEvents({});
      expect(events.map(({ action }) => action)).toContain("passkey.refused");
    });
  });

  test("what the browser sends is worth nothing a second time, or for another sign-in", async () => {
    await browse(async (visitor) => {
      const { page, open, press } = visitor;
      await link(visitor);
      const [mine, other] = [await start(LoginPurpose.SIGN_IN), await start(LoginPurpose.SIGN_IN)];
      const sent = page.waitForRequest("**/login/passkey/finish");
      await open(mine.pageUrl);
      await press();
      const body = JSON.parse((await sent).postData() ?? "{}") as { token: string; answer: unknown };
      await page.getByRole("heading", { name: "Signed in" }).waitFor();
      const replay = (token: string) =>
        page.evaluate(
          async (fields) => {
            const headers = { "content-type": "application/json" };
            const response = await fetch("/login/passkey/finish", { method: "POST", headers, body: fields });
            return response.status;
          },
          JSON.stringify({ ...body, token }),
        );
      await open(other.pageUrl);
      expect(await replay(body.token)).toBe(410);
      expect(await replay(new URL(other.pageUrl).hash.slice(1))).toBe(403);
      expect(await reasonOf(other.collect())).toBe("LOGIN_PENDING");
    });
  });

  test("without JavaScript the page says what is missing, and which other way there is", async () => {
    await browse(
      async ({ page }) => {
        const login = await start(LoginPurpose.SIGN_IN);
        await page.goto(`${broker.url}/login`);
        await page.getByLabel("Link").fill(login.pageUrl);
        await page.getByRole("button").click();
        await page.waitForURL("**/login/review");
        // Playwright looks for no text in a <noscript>.
        const note = page.locator("noscript .note");
        expect(await note.isVisible()).toBe(true);
        expect(await note.innerText()).toContain("A passkey needs JavaScript");
        expect(await page.locator("form[data-passkey]").isVisible()).toBe(false);
        await page.getByRole("button", { name: "No, this is not me" }).click();
        await page.getByRole("heading", { name: "Refused" }).waitFor();
        expect(await reasonOf(login.collect())).toBe("LOGIN_REFUSED");
      },
      { javaScriptEnabled: false },
    );
  });

  test("older browsers, which make no JSON of a passkey by themselves, are helped", async () => {
    await browse(async (visitor) => {
      const { page, open, press } = visitor;
      await page.addInitScript(() => {
        if (!("PublicKeyCredential" in globalThis)) return;
        const older = PublicKeyCredential as unknown as Record<string, unknown>;
        delete older["parseCreationOptionsFromJSON"];
        delete older["parseRequestOptionsFromJSON"];
        delete (PublicKeyCredential.prototype as unknown as Record<string, unknown>)["toJSON"];
      });
      await link(visitor);
      const entry = await start(LoginPurpose.SIGN_IN);
      await open(entry.pageUrl);
      await press();
      await page.getByRole("heading", { name: "Signed in" }).waitFor();
      await entry.collect();
    });
  });

  test("at the broker's address instead of its name, the page says where passkeys are", async () => {
    await browse(async ({ page, press, said }) => {
      const login = await start(LoginPurpose.SIGN_IN);
      await page.goto("about:blank");
      await page.goto(login.pageUrl.replace("localhost", "127.0.0.1"));
      await page.waitForURL("**/login/review");
      await press();
      expect(await said()).toContain(`Passkeys are for pages at ${broker.publicUrl}`);
    });
  });
});
