import type { BrowserContext, Page } from "playwright-core";

import { Secret } from "@agentkeys/lib/secret";

import { mailedToken, postForm, startTestBroker, type TestBroker } from "./broker.ts";
import { createTestBrowser } from "./browser.ts";
import { startTestProvider, type TestProvider } from "./identity-provider.ts";

/** A broker with one identity provider, and a person's browser at its account page. */
export interface AccountHouse {
  broker: TestBroker;
  provider: TestProvider;
  close(): Promise<void>;
}

/** With `named` the broker goes by a name, at which browsers use passkeys. */
export async function openAccountHouse({ named = false } = {}): Promise<AccountHouse> {
  const provider = await startTestProvider();
  const { issuer: url, clientId, clientSecret } = provider;
  const corp = { kind: "oidc", name: "corp", title: "Example Corp", url, clientId } as const;
  const providers = [{ ...corp, clientSecret: new Secret(clientSecret) }];
  const broker = await startTestBroker({ named, settings: { providers } });
  provider.allowRedirect(`${broker.url}/login/callback/corp`);
  return {
    broker,
    provider,
    close: async () => {
      await broker.close();
      await provider.close();
    },
  };
}

/** Asks for a link to `email` at the page's form. */
export async function askForLink(page: Page, email: string): Promise<void> {
  await page.getByLabel("E-mail address").fill(email);
  await page.getByRole("button", { name: "Send me a link" }).click();
  await page.getByRole("heading", { name: "Open the mail" }).waitFor();
}

/** Presses the button of the newest mail to `email`, in no browser that is looked at here. */
export async function confirmElsewhere(broker: TestBroker, email: string): Promise<void> {
  const response = await postForm(broker, "confirm", mailedToken(broker, email));
  if (response.status !== 200) throw new Error(`the link was not taken: ${response.status}`);
}

/** Signs a browser in to the account's page by mail. */
export async function signInAtPage(broker: TestBroker, page: Page, email: string): Promise<void> {
  await page.goto(`${broker.url}/account`);
  await askForLink(page, email);
  await confirmElsewhere(broker, email);
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/**
 * The same without its pages, for a test that is about what comes after them: a browser without a screen signs in, and the real one gets
 * its cookie.
 */
export async function arriveAtPage(broker: TestBroker, page: Page, email: string): Promise<void> {
  const visitor = createTestBrowser();
  await visitor.go(`${broker.url}/account`);
  await visitor.submit("/account/sign-in", { email });
  await confirmElsewhere(broker, email);
  await visitor.go(visitor.url);
  await visitor.submit("/account/collect");
  const name = "__Host-agentkeys-account";
  const place = { domain: new URL(broker.url).hostname, path: "/", secure: true, httpOnly: true };
  await page.context().addCookies([{ name, value: visitor.cookie(name) ?? "", ...place, sameSite: "Strict" }]);
  await page.goto(`${broker.url}/account`);
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/** Proves anew who one is, by a mail, where a page asks for it. */
export async function proveAnew(broker: TestBroker, page: Page, email: string): Promise<void> {
  await page.getByRole("button", { name: `Send a link to ${email}` }).click();
  await page.getByRole("heading", { name: "Open the mail" }).waitFor();
  await confirmElsewhere(broker, email);
}

/** Logs in and agrees at the test provider. */
export async function logInAtProvider(page: Page, name: string): Promise<void> {
  await page.locator('input[name="login"]').fill(name);
  await page.locator('button[type="submit"]').click();
  await page.waitForLoadState();
  await page.locator('button[type="submit"]').click();
  await page.waitForURL(/\/login\/returned\//);
}

/** The account's cookie as the browser keeps it. */
export async function accountCookieOf(context: BrowserContext): Promise<string | undefined> {
  const cookies = await context.cookies();
  return cookies.find(({ name }) => name === "__Host-agentkeys-account")?.value;
}
