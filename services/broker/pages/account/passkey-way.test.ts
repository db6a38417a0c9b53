import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { MINUTE } from "@agentkeys/lib/clock";

import { accountCookieOf, arriveAtPage } from "../../testing/account-page.ts";
import { startTestBroker, type TestBroker } from "../../testing/broker.ts";
import { CHROMIUM, hasChromium, launchChromium } from "../../testing/chromium.ts";
import { addAuthenticator, type VirtualAuthenticator } from "../../testing/virtual-authenticator.ts";

describe.skipIf(!hasChromium)(`a passkey at the account page (skipped where ${CHROMIUM} is missing)`, () => {
  let browser: Browser;
  let broker: TestBroker;
  beforeAll(async () => {
    [browser, broker] = await Promise.all([launchChromium(), startTestBroker({ named: true })]);
  });
  afterAll(async () => {
    await browser.close();
    await broker.close();
  });

  interface Visitor extends VirtualAuthenticator {
    page: Page;
    context: BrowserContext;
    email: string;
  }

  let count = 0;
  /** Somebody in a profile of their own, with an authenticator, who is signed in by mail. */
  async function browse(visit: (visitor: Visitor) => Promise<void>): Promise<void> {
    const context = await browser.newContext();
    const page = await context.newPage();
    const authenticator = await addAuthenticator(page);
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    const email = `person${++count}@example.com`;
    await visit({ page, context, email, ...authenticator });
    expect(complaints).toEqual([]);
    await context.close();
  }

  const open = (page: Page, path: string) => page.goto(broker.url + path);
  async function addPasskey({ page, email }: Visitor): Promise<void> {
    await arriveAtPage(broker, page, email);
    await page.getByRole("link", { name: "Link another" }).click();
    await page.getByRole("button", { name: "Add a passkey" }).click();
    await page.getByText("Linked: it signs in").waitFor();
  }
  const prove = (page: Page) => page.getByRole("button", { name: "Use my passkey" }).click();
  const said = async (page: Page): Promise<string> => {
    await page.locator(".said.wrong").waitFor();
    return page.locator(".said").innerText();
  };

  test("is made in one press, proves in another who sits there, and signs in", async () => {
    await browse(async (visitor) => {
      const { page, context } = visitor;
      await addPasskey(visitor);
      expect(await page.getByRole("region", { name: "Ways to sign in" }).innerText()).toContain(
        "Passkey made on Linux",
      );

      broker.pass(6 * MINUTE);
      const before = await accountCookieOf(context);
      await open(page, "/account/end-others");
      await prove(page);
      await page.getByRole("heading", { name: "End all others?" }).waitFor();
      const after = await accountCookieOf(context);
      expect(after).toMatch(/^[A-Za-z0-9_-]{43}$/);
      expect(after).not.toBe(before);
      // Whoever has a copy of the old cookie is left behind.
      const old = await fetch(`${broker.url}/account/end-others`, {
        headers: { cookie: `__Host-agentkeys-account=${before ?? ""}` },
        redirect: "manual",
      });
      expect(old.headers.get("location")).toBe("/account");

      await open(page, "/account");
      await page.getByText("Shown anew to be Passkey made on Linux").waitFor();
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("button", { name: "Go on with a passkey" }).click();
      await page.getByRole("button", { name: "Go on to a passkey" }).click();
      await page.getByRole("button", { name: "Yes, sign in with a passkey" }).click();
      await page.getByRole("button", { name: "Sign out" }).waitFor();
    });
  });

  test("is not made twice on one device, and only by somebody who has just proven who they are", async () => {
    await browse(async (visitor) => {
      const { page } = visitor;
      await addPasskey(visitor);
      await open(page, "/account/link");
      await page.getByRole("button", { name: "Add a passkey" }).click();
      expect(await said(page)).toContain("has a passkey of this account already");
      broker.pass(11 * MINUTE);
      await page.getByRole("button", { name: "Add a passkey" }).click();
      await prove(page);
      await page.getByRole("heading", { name: "Link another identity" }).waitFor();
    });
  });

  test("of somebody else's account, a suspended one, and a press that is cancelled prove nothing", async () => {
    let theirs: object | undefined;
    await browse(async (visitor) => {
      await addPasskey(visitor);
      const { cdp, authenticatorId } = visitor;
      const { credentials } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
      theirs = credentials[0];
    });
    await browse(async (visitor) => {
      const { page, cdp, authenticatorId, email } = visitor;
      await addPasskey(visitor);
      broker.pass(6 * MINUTE);
      await open(page, "/account/end-others");

      await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
      await prove(page);
      expect(await said(page)).toContain("Nothing was signed");
      await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });

      // A page that asks for whatever passkey there is gets the stranger's.
      await cdp.send("WebAuthn.clearCredentials", { authenticatorId });
      await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: theirs as never });
      await page.route("**/account/prove/passkey/options", async (route) => {
        const response = await route.fetch();
        const { get } = (await response.json()) as { get: object };
        await route.fulfill({ response, json: { get: { ...get, allowCredentials: [] } } });
      });
      await prove(page);
      await page.getByText("linked to another account").waitFor();

      broker.sql(
        `UPDATE identity SET suspended_at = 1 WHERE type = 'passkey' AND anchor = (SELECT anchor FROM identity WHERE value = '${email}')`,
      );
      await page.reload();
      await page.getByRole("button", { name: `Send a link to ${email}` }).waitFor();
      expect(await page.getByRole("button", { name: "Use my passkey" }).count()).toBe(0);
    });
  });

  test("where no script runs, the other ways remain", async () => {
    const note = (page: Page) => page.locator("noscript .note");
    await browse(async (visitor) => {
      await addPasskey(visitor);
      const cookies = await visitor.context.cookies();
      const scriptless = await browser.newContext({ javaScriptEnabled: false });
      await scriptless.addCookies(cookies);
      const page = await scriptless.newPage();
      await open(page, "/account/link");
      expect(await note(page).innerText()).toContain("or link something else");
      expect(await page.getByRole("button", { name: "Add a passkey" }).count()).toBe(0);
      await open(page, "/account/prove");
      expect(await note(page).innerText()).toContain("or take another way");
      await page.getByRole("button", { name: `Send a link to ${visitor.email}` }).click();
      await page.getByRole("heading", { name: "Open the mail" }).waitFor();
      await scriptless.close();
    });
  });

  test("takes what its script sends from pages of this session's only", async () => {
    await browse(async (visitor) => {
      const { page, context } = visitor;
      await addPasskey(visitor);
      const cookie = `__Host-agentkeys-account=${(await accountCookieOf(context)) ?? ""}`;
      await open(page, "/account/link");
      const form = await page.locator("form[data-passkey] input[name=form]").inputValue();
      const ask = async (path: string, fields: object, headers: Record<string, string>) => {
        const response = await fetch(broker.url + path, {
          method: "POST",
          headers: { cookie, "content-type": "application/json", "sec-fetch-site": "same-origin", ...headers },
          body: JSON.stringify(fields),
        });
        return { status: response.status, ...((await response.json()) as { next?: string; get?: object }) };
      };
      for (const path of ["/account/link/passkey", "/account/prove/passkey"]) {
        for (const step of ["options", "finish"]) {
          const at = `${path}/${step}`;
          expect(await ask(at, { form }, { "sec-fetch-site": "cross-site" })).toMatchObject({ status: 403 });
          expect(await ask(at, { form }, { "sec-fetch-site": "none" })).toMatchObject({ status: 403 });
          expect(await ask(at, { form }, { "content-type": "text/plain" })).toMatchObject({ status: 415 });
          expect(await ask(at, { form: "x".repeat(43) }, {})).toMatchObject({ status: 400 });
          expect(await ask(at, {}, {})).toMatchObject({ status: 400 });
          expect(await ask(at, { form }, { cookie: "" })).toEqual({ status: 200, next: "/account" });
        }
      }
      // An answer to what another page asked proves nothing.
      expect(await ask("/account/prove/passkey/finish", { form, answer: {} }, {})).toMatchObject({ status: 400 });
    });
  });
});
