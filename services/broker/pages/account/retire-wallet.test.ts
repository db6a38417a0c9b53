import { afterAll, beforeAll, expect, test } from "vitest";

import { checksumAddress, parseEvmAddress } from "@agentkeys/lib/ethereum";
import { MINUTE } from "@agentkeys/lib/clock";

import {
  mailedToken,
  postForm,
  reasonOf,
  signIn,
  startTestBroker,
  type TestBroker,
  walletSession,
} from "../../testing/broker.ts";
import { createTestBrowser, type TestBrowser } from "../../testing/browser.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

/** Takes up, in a browser without scripts, what is confirmed by mail. */
async function confirm(browser: TestBrowser, email: string): Promise<void> {
  await postForm(broker, "confirm", mailedToken(broker, email));
  await browser.go(browser.url);
  await browser.submit("/account/collect");
}

async function signedIn(email: string): Promise<TestBrowser> {
  const browser = createTestBrowser();
  await browser.go(`${broker.url}/account`);
  await browser.submit("/account/sign-in", { email });
  await confirm(browser, email);
  return browser;
}

test("a wallet is retired by a press after a fresh proof, and mints no more until a machine claims it anew", async () => {
  const email = "ada@example.com";
  const ada = await signIn(broker, email);
  const { wallet, clients } = await walletSession(broker, ada);
  await clients.broker.mintOidcJwt({ audience: "sts.amazonaws.com" });
  const browser = await signedIn(email);
  const path = `/account/retire/${wallet.address}`;
  expect(browser.html).toContain(`href="${path}"`);

  broker.pass(6 * MINUTE);
  await browser.go(broker.url + path);
  expect(browser.url.pathname).toBe("/account/prove");
  await browser.submit("/account/prove");
  await confirm(browser, email);
  expect(browser.url.pathname).toBe(path);
  expect(browser.html).toContain(checksumAddress(parseEvmAddress(wallet.address)));
  expect(browser.html).toContain("nobody else can ever link it");
  // Looking at it changes nothing.
  await clients.broker.mintOidcJwt({ audience: "sts.amazonaws.com" });

  await browser.submit(path);
  expect(browser.html).toContain("Retired: it gets no session any more.");
  expect(browser.html).not.toContain(`href="${path}"`);
  expect(await reasonOf(clients.broker.mintOidcJwt({ audience: "sts.amazonaws.com" }))).toBe("SESSION_REVOKED");
  await browser.go(broker.url + path);
  expect(browser.status).toBe(404);

  await walletSession(broker, await signIn(broker, email), wallet);
  await browser.go(`${broker.url}/account`);
  expect(browser.html).toContain(`href="${path}"`);
});

test("nobody retires somebody else's wallet, one that is none, or one of a frozen account", async () => {
  const email = "bob@example.com";
  const { wallet: theirs, clients: others } = await walletSession(broker, await signIn(broker, "eve@example.com"));
  const { wallet: own } = await walletSession(broker, await signIn(broker, email));
  const browser = await signedIn(email);
  // The form of this session's page, sent to another address.
  const form = /name="form" value="([^"]+)"/.exec(browser.html)?.[1] ?? "";
  const cookie = `__Host-agentkeys-account=${browser.cookie("__Host-agentkeys-account") ?? ""}`;
  const retire = async (address: string): Promise<number> => {
    const { status } = await fetch(`${broker.url}/account/retire/${address}`, {
      method: "POST",
      body: new URLSearchParams({ form }),
      headers: { cookie, origin: broker.url, "sec-fetch-site": "same-origin" },
      redirect: "manual",
    });
    return status;
  };
  expect(await retire(theirs.address)).toBe(404);
  expect(await retire("0x1234")).toBe(404);
  await others.broker.mintOidcJwt({ audience: "sts.amazonaws.com" });

  broker.sql(`UPDATE account SET frozen_at = 1 WHERE anchor = (SELECT anchor FROM identity WHERE value = '${email}')`);
  expect(await retire(own.address)).toBe(403);
  await browser.go(`${broker.url}/account`);
  expect(browser.html).not.toContain("/account/retire/");
});
