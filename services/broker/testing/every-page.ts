import type { Browser, BrowserContext, Page } from "playwright-core";

import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { HOUR } from "@agentkeys/lib/clock";

import {
  askForLink,
  confirmElsewhere,
  logInAtProvider,
  openAccountHouse,
  proveAnew,
  signInAtPage,
} from "./account-page.ts";
import { mailedToken, type Person, signIn, testWallet, walletSession } from "./broker.ts";
import { addAuthenticator } from "./virtual-authenticator.ts";

/** Called with each page that the broker has, by a name of its own, while the browser stands on it. */
export type Look = (name: string, page: Page) => Promise<void>;

/** Leads a browser over every page of the broker's and every mail, each once. */
export async function visitEveryPage(browser: Browser, look: Look): Promise<void> {
  const house = await openAccountHouse({ named: true });
  const { broker } = house;
  const newContext = async (): Promise<BrowserContext> => browser.newContext();
  const context = await newContext();
  const page = await context.newPage();
  const at = async (path: string): Promise<void> => {
    await page.goto(broker.url + path);
  };
  try {
    await at("/");
    await look("home", page);
    await at("/dev/mailbox");
    await look("mailbox-empty", page);
    await at("/nowhere");
    await look("not-found", page);
    await at("/login");
    await look("login", page);
    await at("/notice");
    await look("notice", page);

    // A life before: two machines, a wallet, another mailbox.
    const ada = await signIn(broker, "ada@example.com");
    await walletSession(broker, ada);
    await ada.clients.broker.linkWallet({ address: testWallet().address });
    await signIn(broker, "ada@example.com", { bound: false });
    await signIn(broker, "charles@example.com").then((charles) => walletSession(broker, charles));

    // Machines' sign-ins, and the three purposes of a link.
    const { login } = broker.clients();
    for (const [name, purpose] of [
      ["sign-in", LoginPurpose.SIGN_IN],
      ["link", LoginPurpose.LINK],
      ["step-up", LoginPurpose.STEP_UP],
    ] as const) {
      await login.startEmailLogin({ email: "guest@example.com", deviceName: "build-server-7", purpose });
      const token = mailedToken(broker, "guest@example.com");
      const guest = await (await newContext()).newPage();
      await guest.goto(`${broker.url}/login#${token}`);
      await guest.waitForURL("**/login/review");
      await look(`review-${name}`, guest);
      await guest.getByRole("button", { name: "Yes" }).click();
      await guest.waitForURL("**/login/confirm");
      await look(`confirmed-${name}`, guest);
      if (purpose === LoginPurpose.SIGN_IN) {
        await guest.goto("about:blank");
        await guest.goto(`${broker.url}/login#${token}`);
        await guest.getByRole("heading", { name: "used already" }).waitFor();
        await look("link-used", guest);
      }
      await guest.context().close();
    }

    await visitPasskeyPages(browser, look, ada);

    await at("/account");
    await look("account-sign-in", page);
    await askForLink(page, "ada@example.com");
    await look("account-waiting", page);
    const elsewhere = await (await newContext()).newPage();
    await elsewhere.goto(`${broker.url}/login#${mailedToken(broker, "ada@example.com")}`);
    await elsewhere.waitForURL("**/login/review");
    await look("review-browser-elsewhere", elsewhere);
    await elsewhere.context().close();
    const sameBrowser = await context.newPage();
    await sameBrowser.goto(`${broker.url}/login#${mailedToken(broker, "ada@example.com")}`);
    await sameBrowser.waitForURL("**/login/review");
    await look("review-browser", sameBrowser);
    await sameBrowser.getByRole("button", { name: "Yes, sign it in" }).click();
    await sameBrowser.waitForURL("**/login/confirm");
    await look("confirmed-browser", sameBrowser);
    await sameBrowser.close();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    await look("account", page);

    // Linking, by the provider and by mail.
    await at("/account/link");
    await look("account-link", page);
    await page.getByRole("button", { name: "Go on with Example Corp" }).click();
    await page.getByRole("heading", { name: "On to Example Corp" }).waitFor();
    await look("account-waiting-provider", page);
    await page.getByRole("button", { name: "Go on to Example Corp" }).click();
    await logInAtProvider(page, "ada");
    await look("returned", page);
    await page.getByRole("button", { name: "Yes, link it" }).click();
    await page.getByText("Linked: it signs in").waitFor();
    await look("account-linked", page);
    await at("/account/link");
    await askForLink(page, "charles@example.com");
    await confirmElsewhere(broker, "charles@example.com");
    await page.getByRole("heading", { name: "an account of its own" }).waitFor();
    await look("account-merge", page);
    await page.getByRole("button", { name: "No, leave both" }).click();
    await look("account-apart", page);

    await page.getByRole("link", { name: "Take off" }).last().click();
    await look("account-unlink", page);
    await at("/account");
    await page.getByRole("link", { name: "End test machine" }).first().click();
    await look("account-end", page);
    await at("/account/end-others");
    await look("account-end-others", page);
    await at("/account");
    await page.getByRole("link", { name: "Retire 0x" }).click();
    await look("account-retire", page);
    await page.getByRole("button", { name: "Retire it" }).click();
    await look("account-retired", page);
    await at("/account/events");
    await look("account-events", page);
    await at(`/account/unlink/${"0".repeat(64)}`);
    await look("account-problem", page);

    // Another mailbox, which is told of a machine that nobody knows, and stops everything.
    await at("/account/link");
    await askForLink(page, "second@example.com");
    await confirmElsewhere(broker, "second@example.com");
    await page.getByText("Linked: it signs in").waitFor();
    broker.pass(HOUR / 4);
    await at("/account/unfreeze");
    await look("account-prove", page);
    await signIn(broker, "ada@example.com");
    await broker.tidy();
    const mailed = broker.devMailbox?.list().find(({ subject }) => subject.includes("new machine"));
    const notice = /http\S+\/notice#\S+/.exec(mailed?.text ?? "")?.[0] ?? "";
    await page.goto(notice);
    await page.waitForURL("**/notice/review");
    await look("notice-review", page);
    await page.getByRole("button", { name: "This was not me" }).click();
    await page.getByRole("heading", { name: "Everything is stopped" }).waitFor();
    await look("notice-stopped", page);
    broker.sql(`UPDATE identity SET suspended_at = ${broker.clock()} WHERE type = 'oauth2'`);
    await signInAtPage(broker, page, "ada@example.com");
    await look("account-frozen", page);
    broker.pass(HOUR / 4);
    await page.getByRole("link", { name: "Put it back to work" }).click();
    await proveAnew(broker, page, "ada@example.com");
    await page.getByRole("heading", { name: "Put the account back" }).waitFor();
    await look("account-unfreeze", page);
    await page.getByRole("button", { name: "Put it back to work" }).click();
    await look("account-unfrozen", page);
    await page.getByRole("button", { name: "Sign out" }).click();
    await look("account-signed-out", page);
    await page.getByRole("button", { name: "Go on with your own wallet" }).click();
    await page.getByRole("button", { name: "Go on to your own wallet" }).click();
    await page.getByLabel("Address of the wallet").waitFor();
    await look("wallet-review", page);
    await page.getByLabel("Address of the wallet").fill(testWallet().address);
    await page.getByRole("button", { name: "Show what to sign" }).click();
    await page.getByRole("heading", { name: "Sign this with your wallet" }).waitFor();
    await look("wallet-message", page);
    await at("/dev/mailbox");
    await look("mailbox", page);
    await broker.tidy();
    // What came by mail, as a mail program shows it.
    const kinds = new Set<string>();
    for (const { subject, html } of broker.devMailbox?.list() ?? []) {
      const kind = subject
        .replace(/^AgentKeys: |: [A-Z-]{9}$/g, "")
        .toLowerCase()
        .replaceAll(" ", "-");
      if (kinds.has(kind)) continue;
      kinds.add(kind);
      await page.goto("about:blank");
      await page.setContent(html);
      await look(`mail-${kind}`, page);
    }
  } finally {
    await house.close();
  }
}

/** A passkey that is made, signs a machine in, and proves its person anew; one that is linked nowhere; and where none works. */
async function visitPasskeyPages(browser: Browser, look: Look, person: Person): Promise<void> {
  const page = await browser.newPage();
  await addAuthenticator(page);
  const { login } = person.clients;
  const start = async (purpose: LoginPurpose) => {
    const { loginId, loginSecret, pageUrl } = await login.startPasskeyLogin({ deviceName: "build-server-7", purpose });
    await page.goto("about:blank");
    await page.goto(pageUrl);
    await page.waitForURL("**/login/review");
    return { loginId, loginSecret };
  };
  const made = await start(LoginPurpose.LINK);
  await look("passkey-link", page);
  await page.getByRole("button", { name: "Yes, make a passkey" }).click();
  await page.getByRole("heading", { name: "Your passkey is made" }).waitFor();
  await look("passkey-made", page);
  await start(LoginPurpose.SIGN_IN);
  await look("passkey-sign-in", page);
  await page.getByRole("button", { name: "Yes, sign in with a passkey" }).click();
  await page.getByText("linked to no account").waitFor();
  await look("passkey-unknown", page);
  await person.clients.account.linkIdentity(made);
  await page.getByRole("button", { name: "Yes, sign in with a passkey" }).click();
  await page.getByRole("heading", { name: "Signed in" }).waitFor();
  await look("passkey-signed-in", page);
  await start(LoginPurpose.STEP_UP);
  await look("passkey-step-up", page);
  await page.getByRole("button", { name: "Yes, use my passkey" }).click();
  await page.getByRole("heading", { name: "That was you" }).waitFor();
  await look("passkey-proven", page);
  await page.context().close();
}
