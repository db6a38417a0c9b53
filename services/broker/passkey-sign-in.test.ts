import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { computeOmniAccount } from "@agentkeys/lib/account";
import { HOUR } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";
import { presentSession } from "@agentkeys/lib/session";

import { createSoftPasskey, type SoftPasskey } from "./testing/authenticator.ts";
import {
  type Person,
  postForm,
  reasonOf,
  signIn,
  startTestBroker,
  testKey,
  type TestBroker,
} from "./testing/broker.ts";
import { visitPasskeyPage } from "./testing/passkey-visit.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker({ named: true });
});
afterAll(() => broker.close());

let count = 0;
const newAddress = (): string => `person-${++count}@example.com`;
let person: Person;
let passkey: SoftPasskey;
beforeEach(async () => {
  person = await signIn(broker, newAddress());
  passkey = createSoftPasskey({ origin: broker.publicUrl });
});

/** Starts a sign-in by passkey, with the key of the person's machine or of a new one. */
async function start(purpose = LoginPurpose.SIGN_IN, key = person.key) {
  const { login } = broker.clients(key && presentSession({ key }));
  const started = await login.startPasskeyLogin({ deviceName: "test machine", purpose });
  const { loginId, loginSecret } = started;
  const visit = visitPasskeyPage(broker.url, started.pageUrl);
  const collect = () => login.awaitLogin({ loginId, loginSecret }, { timeoutMs: 1200 });
  return { ...started, held: { loginId, loginSecret }, visit, collect };
}

async function linkPasskey(of: Person = person, by: SoftPasskey = passkey) {
  const { visit, held } = await start(LoginPurpose.LINK, of.key);
  expect((await visit.press(by)).status).toBe(200);
  return of.clients.account.linkIdentity(held);
}

const omniOf = ({ credentialId }: SoftPasskey): string =>
  computeOmniAccount({ clientId: "agentkeys", identityType: "passkey", identityValue: credentialId });

test("a passkey is linked, and signs a new machine in to the same account", async () => {
  const { identity } = await linkPasskey();
  expect(identity).toMatchObject({
    type: IdentityType.PASSKEY,
    value: passkey.credentialId,
    omniAccount: omniOf(passkey),
  });
  expect(identity?.displayName).toMatch(/^Passkey of \d{4}-\d\d-\d\d$/);

  const login = await start(LoginPurpose.SIGN_IN, await testKey(broker.clock));
  expect(await reasonOf(login.collect())).toBe("LOGIN_PENDING");
  const { status, body } = await login.visit.press(passkey);
  expect(status).toBe(200);
  const page = await login.visit.open(body.next ?? "");
  expect(page.html).toContain("Signed in");
  expect(page.html).toContain("<bdi>test machine</bdi>");
  const session = await login.collect();
  expect(session.omniAccount).toBe(person.omniAccount);
  expect(session.identity).toMatchObject({ value: passkey.credentialId, displayName: identity?.displayName });
  expect(await reasonOf(login.collect())).toBe("LOGIN_NOT_FOUND");
});

test("a passkey makes an old session fresh again", async () => {
  await linkPasskey();
  broker.pass(HOUR);
  const unlink = () => person.clients.account.unlinkIdentity({ omniAccount: omniOf(passkey) });
  expect(await reasonOf(unlink())).toBe("FRESH_SIGN_IN_REQUIRED");
  const { visit, held } = await start(LoginPurpose.STEP_UP);
  await visit.press(passkey);
  await person.clients.account.stepUp(held);
  await unlink();
  expect(broker.rows(`SELECT count(*) FROM passkey WHERE credential_id = '${passkey.credentialId}'`)).toEqual([0]);
});

test("the other identities are told of a new passkey, by a name that says something", async () => {
  await linkPasskey();
  const second = createSoftPasskey({ origin: broker.publicUrl });
  const login = await start(LoginPurpose.SIGN_IN, await testKey(broker.clock));
  await login.visit.press(passkey);
  const session = await login.collect();
  expect(session.omniAccount).toBe(person.omniAccount);
  // Signed in by the passkey, whose owner links another one: the mailbox is told.
  const key = await testKey(broker.clock);
  const machine = await start(LoginPurpose.SIGN_IN, key);
  await machine.visit.press(passkey);
  const { sessionJwt } = await machine.collect();
  const { account } = broker.clients(presentSession({ key, token: () => new Secret(sessionJwt) }));
  const link = await start(LoginPurpose.LINK, key);
  await link.visit.press(second);
  await account.linkIdentity(link.held);
  await broker.tidy();
  const mails = broker.devMailbox?.list().filter(({ to, subject }) => to === person.email && /linked/.test(subject));
  expect(mails?.[0]?.text).toMatch(/Identity\s+Passkey of \d{4}-\d\d-\d\d/);
});

describe("nobody is let in", () => {
  test("by a passkey that is linked to no account", async () => {
    const { visit, collect } = await start();
    const { status, body } = await visit.press(passkey);
    expect(status).toBe(403);
    expect(body.message).toContain("linked to no account");
    expect(await reasonOf(collect())).toBe("LOGIN_PENDING");
    // The person has another one, and may use that.
    const other = createSoftPasskey({ origin: broker.publicUrl });
    await linkPasskey(person, other);
    expect((await visit.press(other)).status).toBe(200);
    await collect();
  });

  test("by a passkey that was made for a link and never linked: it is forgotten with the sign-in", async () => {
    const { visit, held, loginId } = await start(LoginPurpose.LINK);
    await visit.press(passkey);
    const { visit: signing } = await start();
    expect((await signing.press(passkey)).status).toBe(403);
    expect(broker.rows(`SELECT new_passkey IS NOT NULL FROM login WHERE login_id = '${loginId}'`)).toEqual([1]);
    broker.pass(2 * HOUR);
    await broker.tidy();
    expect(broker.rows(`SELECT count(*) FROM login WHERE login_id = '${loginId}'`)).toEqual([0]);
    const again = await signIn(broker, person.email);
    expect(await reasonOf(again.clients.account.linkIdentity(held))).toBe("LOGIN_NOT_FOUND");
  });

  test("by a sign-in that was started to link, and none is linked by one that was started to sign in", async () => {
    const link = await start(LoginPurpose.LINK);
    await link.visit.press(passkey);
    expect(await reasonOf(link.collect())).toBe("LOGIN_PURPOSE");
    expect(await reasonOf(person.clients.account.stepUp(link.held))).toBe("LOGIN_PURPOSE");
    await person.clients.account.linkIdentity(link.held);
    const entry = await start(LoginPurpose.SIGN_IN);
    await entry.visit.press(passkey);
    expect(await reasonOf(person.clients.account.linkIdentity(entry.held))).toBe("LOGIN_PURPOSE");
  });

  test("who names somebody else's passkey as a new one of theirs: no merge is offered, and none is done", async () => {
    const thief = await signIn(broker, newAddress());
    // Made before the victim's was linked, so that it is not known yet when it comes.
    const forged = createSoftPasskey({ origin: broker.publicUrl });
    const early = await start(LoginPurpose.LINK, thief.key);
    await early.visit.press(forged, { credentialId: passkey.credentialId });
    await linkPasskey();
    const offered = thief.clients.account.linkIdentity(early.held);
    expect(await reasonOf(offered)).toBe("SIGNATURE_INVALID");
    const merged = thief.clients.account.mergeAccount({ ...early.held, offerId: "0".repeat(64) });
    expect(await reasonOf(merged)).toBe("SIGNATURE_INVALID");

    const late = await start(LoginPurpose.LINK, thief.key);
    expect((await late.visit.press(forged, { credentialId: passkey.credentialId })).status).toBe(403);
    const mine = await start(LoginPurpose.SIGN_IN, await testKey(broker.clock));
    expect((await mine.visit.press(forged, { credentialId: passkey.credentialId })).status).toBe(403);
    await mine.visit.press(passkey);
    expect((await mine.collect()).omniAccount).toBe(person.omniAccount);
  });

  test("by a passkey that was taken off between its signature and the collection", async () => {
    await linkPasskey();
    const { visit, collect } = await start(LoginPurpose.SIGN_IN, await testKey(broker.clock));
    await visit.press(passkey);
    await person.clients.account.unlinkIdentity({ omniAccount: omniOf(passkey) });
    expect(await reasonOf(collect())).toBe("PASSKEY_UNKNOWN");
    expect(broker.rows(`SELECT count(*) FROM account WHERE anchor = '${omniOf(passkey)}'`)).toEqual([0]);
  });

  test("by a step-up with the passkey of another account", async () => {
    const other = await signIn(broker, newAddress());
    await linkPasskey(other);
    const { visit, held } = await start(LoginPurpose.STEP_UP);
    await visit.press(passkey);
    expect(await reasonOf(person.clients.account.stepUp(held))).toBe("WRONG_ACCOUNT");
  });

  test("when the person says no, or comes too late", async () => {
    await linkPasskey();
    const refused = await start();
    const { body } = await refused.visit.options();
    expect((await postForm(broker, "refuse", tokenOf(refused.pageUrl))).status).toBe(200);
    expect((await refused.visit.finish(passkey.get(body.get!))).status).toBe(410);
    expect(await reasonOf(refused.collect())).toBe("LOGIN_REFUSED");

    const late = await start();
    broker.pass(16 * 60_000);
    expect((await late.visit.options()).status).toBe(410);
    expect(await reasonOf(late.collect())).toBe("LOGIN_EXPIRED");
  });

  test("by the button that confirms other sign-ins, which proves nothing here", async () => {
    const { pageUrl, collect } = await start();
    expect((await postForm(broker, "confirm", tokenOf(pageUrl))).status).toBe(410);
    expect(await reasonOf(collect())).toBe("LOGIN_PENDING");
  });

  test("in another browser than the one that was asked, or by another sign-in's answer", async () => {
    await linkPasskey();
    const mine = await start();
    const { body } = await mine.visit.options();
    const elsewhere = visitPasskeyPage(broker.url, mine.pageUrl);
    await elsewhere.options();
    expect((await elsewhere.finish(passkey.get(body.get!))).status).toBe(403);
    const theirs = await start();
    await theirs.visit.options();
    expect((await theirs.visit.finish(passkey.get(body.get!))).status).toBe(403);
    expect(await reasonOf(theirs.collect())).toBe("LOGIN_PENDING");
    expect((await mine.visit.finish(passkey.get(body.get!))).status).toBe(200);
    // The link knows that it was used.
    expect((await mine.visit.finish(passkey.get(body.get!))).body.message).toContain("used already");
  });

  test("by a page that is not ours, a form, or too much", async () => {
    const { visit } = await start();
    const foreign = await visit.post("/login/passkey/options", {}, { "sec-fetch-site": "cross-site" });
    expect(foreign.status).toBe(403);
    const form = await visit.post("/login/passkey/options", {}, { "content-type": "text/plain" });
    expect(form.status).toBe(415);
    const large = await fetch(`${broker.url}/login/passkey/finish`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "x".repeat(100_000),
    });
    expect(large.status).toBe(413);
    expect((await visit.post("/login/passkey/options", { token: "short" })).status).toBe(404);
    expect((await visit.post("/login/passkey/options", { token: "A".repeat(43) })).status).toBe(404);
  });
});

test("only the browser that confirmed is shown what came of it", async () => {
  await linkPasskey();
  const { visit, pageUrl } = await start();
  const { body } = await visit.press(passkey);
  expect((await visit.open(body.next ?? "")).status).toBe(200);
  expect((await visitPasskeyPage(broker.url, pageUrl).open(body.next ?? "")).status).toBe(404);
});

test("the page that runs a passkey may talk to this server from its script, and to no other", async () => {
  const { pageUrl } = await start();
  const review = await postForm(broker, "review", tokenOf(pageUrl));
  expect(review.headers.get("content-security-policy")).toMatch(/default-src 'none';.* connect-src 'self';/);
  const html = await review.text();
  expect(html).toContain("Signing a machine in");
  expect(html).toContain("A passkey needs JavaScript");
});

test("a broker that goes by an IP address starts none, and says where passkeys work", async () => {
  const unnamed = await startTestBroker();
  const { login } = unnamed.clients();
  await expect(login.startPasskeyLogin({})).rejects.toThrow(/IP address.*http:\/\/localhost/);
  expect(await reasonOf(login.startPasskeyLogin({}))).toBe("NOT_SERVED");
  expect(unnamed.rows("SELECT 1 FROM login")).toEqual([]);
  await unnamed.close();
});

function tokenOf(pageUrl: string): string {
  return new URL(pageUrl).hash.slice(1);
}
