import { createHash } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { SessionKind } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { HOUR, MINUTE } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";
import { presentSession } from "@agentkeys/lib/session";

import { createTestBrowser, type TestBrowser } from "./testing/browser.ts";
import {
  mailedToken,
  postForm,
  reasonOf,
  signIn,
  startTestBroker,
  type TestBroker,
  walletSession,
} from "./testing/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

let count = 0;
const newEmail = (): string => `person${++count}@example.com`;

/** Goes on from a page that waits for a mail: confirms it elsewhere, asks again, and presses the button. */
async function confirmAndGoOn(browser: TestBrowser, email: string): Promise<void> {
  await postForm(broker, "confirm", mailedToken(broker, email));
  await browser.go(browser.url);
  await browser.submit("/account/collect");
}

/** A browser without scripts that is signed in by mail. */
async function signedIn(email = newEmail(), browser = createTestBrowser()): Promise<TestBrowser> {
  await browser.go(`${broker.url}/account`);
  await browser.submit("/account/sign-in", { email });
  await confirmAndGoOn(browser, email);
  expect(browser.html).toContain("Sign out");
  return browser;
}

const cookieOf = (browser: TestBrowser, name = "account"): string => browser.cookie(`__Host-agentkeys-${name}`) ?? "";
/** Whether a browser is signed in when it asks now. */
async function isSignedIn(browser: TestBrowser): Promise<boolean> {
  await browser.go(`${broker.url}/account`);
  return browser.html.includes("Sign out");
}
const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");

describe("a browser's session", () => {
  test("is a cookie for this host alone, which no script reads and no other site sends; only its hash is kept", async () => {
    const browser = await signedIn();
    const set = browser.setCookies.find((line) => line.startsWith("__Host-agentkeys-account=")) ?? "";
    expect(set.split("; ").slice(1).sort()).toEqual([
      "HttpOnly",
      "Max-Age=43200",
      "Path=/",
      "SameSite=Strict",
      "Secure",
    ]);
    expect(cookieOf(browser)).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(broker.rows("SELECT cookie_hash FROM session WHERE cookie_hash IS NOT NULL")).toContain(
      hashOf(cookieOf(browser)),
    );
    expect(broker.logged.join("")).not.toContain(cookieOf(browser));
  });

  test("ends after half an hour without use", async () => {
    const browser = await signedIn();
    broker.pass(29 * MINUTE);
    expect(await isSignedIn(browser)).toBe(true);
    broker.pass(29 * MINUTE);
    expect(await isSignedIn(browser)).toBe(true);
    broker.pass(31 * MINUTE);
    expect(await isSignedIn(browser)).toBe(false);
  });

  test("ends after twelve hours, however much it is used", async () => {
    const browser = await signedIn();
    for (let used = 0; used < 28; used++) {
      broker.pass(25 * MINUTE);
      expect(await isSignedIn(browser)).toBe(true);
    }
    broker.pass(12 * HOUR - 28 * 25 * MINUTE + 1000);
    expect(await isSignedIn(browser)).toBe(false);
  });

  test("is listed beside the machines, and ends at once when one of them revokes it", async () => {
    const email = newEmail();
    const browser = await signedIn(email);
    const { clients } = await signIn(broker, email);
    const { sessions } = await clients.account.listSessions({});
    const listed = sessions.find(({ kind }) => kind === SessionKind.BROWSER);
    expect(listed).toMatchObject({ current: false, dpopBound: false, sourceAddress: "127.0.0.1" });
    await clients.account.revokeSession({ sessionId: listed?.sessionId ?? "" });
    expect(await isSignedIn(browser)).toBe(false);
  });

  test("ends with the identity that signed it in, when that is taken off", async () => {
    const [email, second] = [newEmail(), newEmail()];
    const ada = await signIn(broker, email);
    const started = await ada.clients.login.startEmailLogin({ email: second, purpose: LoginPurpose.LINK });
    await postForm(broker, "confirm", mailedToken(broker, second));
    const { loginId, loginSecret } = started;
    const { identity } = await ada.clients.account.linkIdentity({ loginId, loginSecret });
    const browser = await signedIn(second);
    await ada.clients.account.unlinkIdentity({ omniAccount: identity?.omniAccount ?? "" });
    expect(await isSignedIn(browser)).toBe(false);
  });

  test("ends with all others when the owner of another mailbox says that it was not them", async () => {
    const [email, second] = [newEmail(), newEmail()];
    const ada = await signIn(broker, email);
    const { loginId, loginSecret } = await ada.clients.login.startEmailLogin({
      email: second,
      purpose: LoginPurpose.LINK,
    });
    await postForm(broker, "confirm", mailedToken(broker, second));
    await ada.clients.account.linkIdentity({ loginId, loginSecret });
    const browser = await signedIn(email);
    await broker.tidy();
    // The newest mail to the second mailbox tells of the browser.
    const told = broker.devMailbox?.list().find(({ to }) => to === second)?.text ?? "";
    expect(told).toContain("A new machine signed in");
    await fetch(`${broker.url}/notice/report`, {
      method: "POST",
      body: new URLSearchParams({ token: /\/notice#([A-Za-z0-9_-]{43})/.exec(told)?.[1] ?? "" }),
      headers: { "sec-fetch-site": "same-origin" },
    });
    expect(await isSignedIn(browser)).toBe(false);
    await signedIn(email, browser);
    expect(browser.html).toContain("This account is frozen");
  });

  test("is no token: neither the cookie nor its session's id opens an RPC, in any header", async () => {
    const browser = await signedIn();
    const [id] = broker.rows(`SELECT session_id FROM session WHERE cookie_hash = '${hashOf(cookieOf(browser))}'`);
    for (const token of [cookieOf(browser), String(id)]) {
      const { account } = broker.clients(presentSession({ token: () => new Secret(token) }));
      expect(await reasonOf(account.whoAmI({}))).toBe("SESSION_INVALID");
    }
    const response = await fetch(`${broker.url}/v1/account`, {
      headers: { cookie: `__Host-agentkeys-account=${cookieOf(browser)}` },
    });
    expect(response.status).toBe(401);
  });

  test("gets a cookie of its own, whatever was planted in the browser before", async () => {
    const browser = createTestBrowser();
    await browser.go(`${broker.url}/account`);
    const planted = "A".repeat(43);
    browser.plant("__Host-agentkeys-account", planted);
    await signedIn(newEmail(), browser);
    expect(cookieOf(browser)).not.toBe(planted);
  });

  test("gets another cookie, and other form tokens, when more was proven; the old ones are worth nothing", async () => {
    const email = newEmail();
    const browser = await signedIn(email);
    const old = cookieOf(browser);
    const formToken = (): string | undefined => /name="form" value="([^"]+)"/.exec(browser.html)?.[1];
    const oldToken = formToken();
    broker.pass(6 * MINUTE);
    await browser.go(`${broker.url}/account/end-others`);
    expect(browser.html).toContain("Show that it is you");
    await browser.submit("/account/prove");
    await confirmAndGoOn(browser, email);
    expect(browser.url.pathname).toBe("/account/end-others");
    expect(cookieOf(browser)).not.toBe(old);
    expect(formToken()).not.toBe(oldToken);
    const thief = createTestBrowser();
    await thief.go(`${broker.url}/account`);
    thief.plant("__Host-agentkeys-account", old);
    expect(await isSignedIn(thief)).toBe(false);
    expect(await isSignedIn(browser)).toBe(true);
  });

  test("has its other cookie before the proof counts, and keeps it where the proof turns out to be none", async () => {
    const email = newEmail();
    const browser = await signedIn(email);
    const old = cookieOf(browser);
    await browser.go(`${broker.url}/account/prove`);
    await browser.submit("/account/prove");
    await postForm(broker, "confirm", mailedToken(broker, email));
    await browser.go(browser.url);
    broker.sql(`UPDATE identity SET suspended_at = 1 WHERE value = '${email}'`);
    await browser.submit("/account/collect");
    expect(browser.status).toBe(403);
    expect(cookieOf(browser)).not.toBe(old);
    expect(await isSignedIn(browser)).toBe(true);
  });

  test("ends when somebody else signs in at the same browser", async () => {
    const [first, second] = [newEmail(), newEmail()];
    const browser = await signedIn(first);
    const old = cookieOf(browser);
    const other = createTestBrowser();
    await other.go(`${broker.url}/account`);
    await other.submit("/account/sign-in", { email: second });
    browser.plant("__Host-agentkeys-waiting", cookieOf(other, "waiting"));
    await browser.go(other.url);
    await confirmAndGoOn(browser, second);
    expect(browser.html).toContain(second);
    const thief = createTestBrowser();
    await thief.go(`${broker.url}/account`);
    thief.plant("__Host-agentkeys-account", old);
    expect(await isSignedIn(thief)).toBe(false);
  });

  test("ends when its person signs out", async () => {
    const browser = await signedIn();
    const old = cookieOf(browser);
    await browser.submit("/account/sign-out");
    expect(browser.html).toContain("You are signed out.");
    expect(cookieOf(browser)).toBe("");
    browser.plant("__Host-agentkeys-account", old);
    expect(await isSignedIn(browser)).toBe(false);
  });
});

describe("what somebody began at a browser and left there", () => {
  /** A link that its person has confirmed, and not yet taken up. */
  async function confirmedLink(browser: TestBrowser): Promise<{ identity: string; at: URL }> {
    const identity = newEmail();
    await browser.go(`${broker.url}/account/link`);
    await browser.submit("/account/link", { email: identity });
    await postForm(broker, "confirm", mailedToken(broker, identity));
    return { identity, at: browser.url };
  }
  const linked = (identity: string): unknown[] => broker.rows(`SELECT 1 FROM identity WHERE value = '${identity}'`);

  test("is nobody's once they have signed out", async () => {
    const browser = await signedIn();
    const { identity, at } = await confirmedLink(browser);
    await browser.go(`${broker.url}/account`);
    await browser.submit("/account/sign-out");
    expect(cookieOf(browser, "waiting")).toBe("");
    await signedIn(newEmail(), browser);
    await browser.go(at);
    expect(browser.url.pathname).toBe("/account");
    expect(linked(identity)).toHaveLength(0);
  });

  test("is not the next one's who signs in without that", async () => {
    const browser = await signedIn();
    const { identity, at } = await confirmedLink(browser);
    const next = newEmail();
    const other = createTestBrowser();
    await other.go(`${broker.url}/account`);
    await other.submit("/account/sign-in", { email: next });
    browser.plant("__Host-agentkeys-waiting", `${cookieOf(other, "waiting")}~${cookieOf(browser, "waiting")}`);
    await browser.go(other.url);
    await confirmAndGoOn(browser, next);
    expect(browser.html).toContain(next);
    await browser.go(at);
    expect(browser.url.pathname).toBe("/account");
    expect(linked(identity)).toHaveLength(0);
  });
});

describe("a sign-in that was started", () => {
  test("by a browser is collected by no program, with whatever it has of it", async () => {
    const email = newEmail();
    const browser = createTestBrowser();
    await browser.go(`${broker.url}/account`);
    await browser.submit("/account/sign-in", { email });
    await postForm(broker, "confirm", mailedToken(broker, email));
    const [loginId = "", loginSecret = ""] = cookieOf(browser, "waiting").split(".");
    expect(loginSecret).toMatch(/^[A-Za-z0-9_-]{43}$/);
    const held = { loginId, loginSecret };
    const { clients } = await signIn(broker, newEmail());
    expect(await reasonOf(broker.clients().login.awaitLogin(held))).toBe("DPOP_INVALID");
    expect(await reasonOf(clients.login.awaitLogin(held))).toBe("DPOP_INVALID");
    expect(await reasonOf(clients.account.linkIdentity(held))).toBe("DPOP_INVALID");
    expect(await reasonOf(clients.account.stepUp(held))).toBe("DPOP_INVALID");
  });

  test("by a program signs in no browser", async () => {
    const email = newEmail();
    const { loginId, loginSecret } = await broker.clients().login.startEmailLogin({ email });
    await postForm(broker, "confirm", mailedToken(broker, email));
    const browser = createTestBrowser();
    await browser.go(`${broker.url}/account`);
    browser.plant("__Host-agentkeys-waiting", `${loginId}.${loginSecret}../account`);
    await browser.go(`${broker.url}/account/waiting/${loginId}`);
    expect(browser.status).toBe(403);
    expect(await isSignedIn(browser)).toBe(false);
  });

  test("by another browser leads nowhere in this one", async () => {
    const email = newEmail();
    const browser = createTestBrowser();
    await browser.go(`${broker.url}/account`);
    await browser.submit("/account/sign-in", { email });
    const waiting = browser.url;
    await postForm(broker, "confirm", mailedToken(broker, email));
    const stranger = createTestBrowser();
    await stranger.go(waiting);
    expect(stranger.status).toBe(404);
    const state = await fetch(`${waiting.href}/state`);
    expect(await state.json()).toEqual({ state: "over" });
  });
});

describe("what changes who gets in", () => {
  test.each([
    ["/account/end-others", 5],
    ["/account/unfreeze", 5],
    ["/account/link", 10],
  ])("needs a proof from the last minutes, for the question and for the press: %s, %i", async (path, minutes) => {
    const email = newEmail();
    const browser = await signedIn(email);
    const freeze = `UPDATE account SET frozen_at = 1 WHERE anchor IN (SELECT anchor FROM identity WHERE value = '${email}')`;
    if (path === "/account/unfreeze") broker.sql(freeze);
    broker.pass(minutes * MINUTE - 10_000);
    await browser.go(broker.url + path);
    expect(browser.url.pathname).toBe(path);
    broker.pass(20_000);
    // The form is on the screen still.
    const fields: Record<string, string> = path === "/account/link" ? { email: newEmail() } : {};
    const logins = broker.rows("SELECT 1 FROM login").length;
    await browser.submit(path, fields);
    expect(browser.url.pathname).toBe("/account/prove");
    expect(browser.url.searchParams.get("then")).toBe(path);
    expect(broker.rows("SELECT 1 FROM login")).toHaveLength(logins);
    expect(broker.rows(`SELECT 1 FROM account WHERE frozen_at = 1`)).toHaveLength(path === "/account/unfreeze" ? 1 : 0);
    await browser.go(broker.url + path);
    expect(browser.url.pathname).toBe("/account/prove");
    broker.sql("UPDATE account SET frozen_at = NULL");
  });

  test("can be nobody else's identity or session, and the last identity stays", async () => {
    const [email, stranger] = [newEmail(), newEmail()];
    const browser = await signedIn(email);
    const { omniAccount } = await signIn(broker, stranger);
    await browser.go(`${broker.url}/account/unlink/${omniAccount}`);
    expect(browser.status).toBe(404);
    const [theirs] = broker.rows(`SELECT session_id FROM session WHERE anchor = '${omniAccount}'`);
    await browser.go(`${broker.url}/account/end/${String(theirs)}`);
    expect(browser.status).toBe(404);
    const own = broker.rows(`SELECT omni_account FROM identity WHERE value = '${email}'`)[0];
    await browser.go(`${broker.url}/account/unlink/${String(own)}`);
    await browser.submit("/unlink/[0-9a-f]+");
    expect(browser.status).toBe(409);
    expect(browser.html).toContain("link another one first");
  });

  test("a machine is ended with all that came from it", async () => {
    const email = newEmail();
    const machine = await signIn(broker, email);
    const { clients } = await walletSession(broker, machine);
    const browser = await signedIn(email);
    const [id] = broker.rows(
      `SELECT session_id FROM session WHERE anchor = '${machine.omniAccount}' AND kind = 'identity'`,
    );
    // Of the two sessions one came from the other: they are one sign-in.
    expect(browser.html.match(/href="\/account\/end\//g)).toHaveLength(1);
    await browser.go(`${broker.url}/account/end/${String(id)}`);
    expect(browser.html).toContain("test machine");
    await browser.submit("/account/end/[A-Za-z0-9_-]+");
    expect(browser.html).toContain("Ended, everywhere within 10 seconds.");
    expect(await reasonOf(machine.clients.account.whoAmI({}))).toBe("SESSION_REVOKED");
    expect(await reasonOf(clients.broker.mintOidcJwt({}))).toBe("SESSION_REVOKED");
    expect(await isSignedIn(browser)).toBe(true);
  });
});

test("a machine that renews while its owner looks at the list is ended all the same", async () => {
  const email = newEmail();
  const machine = await signIn(broker, email);
  const browser = await signedIn(email);
  const [id] = broker.rows(
    `SELECT session_id FROM session WHERE anchor = '${machine.omniAccount}' AND kind = 'identity'`,
  );
  await machine.clients.login.renewSession({});
  await browser.go(`${broker.url}/account/end/${String(id)}`);
  expect(browser.html).toContain("test machine");
  await browser.submit("/account/end/[A-Za-z0-9_-]+");
  expect(browser.html).toContain("Ended, everywhere within 10 seconds.");
  expect(
    broker.rows(
      `SELECT 1 FROM session WHERE anchor = '${machine.omniAccount}' AND kind = 'identity' AND revoked_at IS NULL`,
    ),
  ).toHaveLength(0);
});

test("on a frozen account a browser may look, and link nothing", async () => {
  const email = newEmail();
  const browser = await signedIn(email);
  broker.sql(`UPDATE account SET frozen_at = ${broker.clock()} WHERE anchor IN
    (SELECT anchor FROM identity WHERE value = '${email}')`);
  expect(await isSignedIn(browser)).toBe(true);
  expect(browser.html).toContain("This account is frozen");
  await browser.go(`${broker.url}/account/link`);
  expect(browser.status).toBe(403);
  await browser.go(`${broker.url}/account/unfreeze`);
  await browser.submit("/account/unfreeze");
  expect(browser.html).toContain("The account works again.");
  await browser.go(`${broker.url}/account/link`);
  expect(browser.status).toBe(200);
});
