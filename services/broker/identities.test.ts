import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { DAY, MINUTE } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";
import { presentSession } from "@agentkeys/lib/session";

import {
  mailedToken,
  type Person,
  postForm,
  reasonOf,
  signIn,
  startTestBroker,
  testKey,
  type TestBroker,
  testWallet,
  walletSession,
} from "./testing/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

let count = 0;
const newAddress = (name: string): string => `${name}-${++count}@example.com`;

/** A sign-in by mail that `person`'s machine started and the owner of `email` has confirmed. */
async function proven(person: Person, email: string, purpose = LoginPurpose.LINK) {
  const login = broker.clients(person.key && presentSession({ key: person.key })).login;
  const { loginId, loginSecret } = await login.startEmailLogin({ email, purpose });
  await postForm(broker, "confirm", mailedToken(broker, email));
  return { loginId, loginSecret };
}

async function linked(person: Person, email: string): Promise<void> {
  await person.clients.account.linkIdentity(await proven(person, email));
}

const valuesOf = async ({ clients }: Person): Promise<(string | undefined)[]> =>
  (await clients.account.listIdentities({})).identities.map(({ value }) => value);

/** The newest notice to `email`, once it was sent. */
async function notice(email: string): Promise<{ subject: string; token: string }> {
  await broker.tidy();
  const mail = broker.devMailbox?.list().find(({ to, text }) => to === email && text.includes("/notice#"));
  const token = /\/notice#([A-Za-z0-9_-]{43})/.exec(mail?.text ?? "")?.[1];
  if (mail === undefined || token === undefined) throw new Error(`no notice for ${email}`);
  return { subject: mail.subject, token };
}

const pressNotMe = (token: string): Promise<Response> =>
  fetch(`${broker.url}/notice/report`, {
    method: "POST",
    body: new URLSearchParams({ token }),
    headers: { "sec-fetch-site": "same-origin" },
  });

describe("a linked identity", () => {
  test("signs in to the same account, from a new machine, and the old one can be revoked from there", async () => {
    const [home, work] = [newAddress("home"), newAddress("work")];
    const first = await signIn(broker, home);
    await linked(first, work);
    expect(await valuesOf(first)).toEqual([home, work]);
    const second = await signIn(broker, work);
    expect(second.omniAccount).toBe(first.omniAccount);
    const { sessions } = await second.clients.account.listSessions({});
    const old = sessions.find(({ current }) => !current);
    await second.clients.account.revokeSession({ sessionId: old?.sessionId ?? "" });
    expect(await reasonOf(first.clients.account.whoAmI({}))).toBe("SESSION_REVOKED");
  });

  test("is linked by the machine that started its sign-in, with a confirmed one, once", async () => {
    const person = await signIn(broker, newAddress("p"));
    const email = newAddress("second");
    const { login } = broker.clients(person.key && presentSession({ key: person.key }));
    const { loginId, loginSecret } = await login.startEmailLogin({ email, purpose: LoginPurpose.LINK });
    expect(await reasonOf(person.clients.account.linkIdentity({ loginId, loginSecret }))).toBe("LOGIN_PENDING");
    const stranger = await signIn(broker, newAddress("stranger"));
    await postForm(broker, "confirm", mailedToken(broker, email));
    expect(await reasonOf(stranger.clients.account.linkIdentity({ loginId, loginSecret }))).toBe("DPOP_INVALID");
    const wrong = { loginId, loginSecret: "A".repeat(43) };
    expect(await reasonOf(person.clients.account.linkIdentity(wrong))).toBe("LOGIN_NOT_FOUND");
    await person.clients.account.linkIdentity({ loginId, loginSecret });
    expect(await reasonOf(person.clients.account.linkIdentity({ loginId, loginSecret }))).toBe("LOGIN_NOT_FOUND");
    expect(await reasonOf(login.awaitLogin({ loginId, loginSecret }))).toBe("LOGIN_PURPOSE");
  });

  test("needs a sign-in within 10 minutes, which StepUp renews", async () => {
    const email = newAddress("late");
    const person = await signIn(broker, email);
    broker.pass(11 * MINUTE);
    const other = await proven(person, newAddress("other"));
    expect(await reasonOf(person.clients.account.linkIdentity(other))).toBe("FRESH_SIGN_IN_REQUIRED");
    expect(await reasonOf(person.clients.account.stepUp(other))).toBe("LOGIN_PURPOSE");
    const stranger = await proven(person, newAddress("stranger"), LoginPurpose.STEP_UP);
    expect(await reasonOf(person.clients.account.stepUp(stranger))).toBe("WRONG_ACCOUNT");
    await person.clients.account.stepUp(await proven(person, email, LoginPurpose.STEP_UP));
    expect((await person.clients.account.linkIdentity(other)).identity?.value).toMatch(/^other/);
  });
});

describe("merging two accounts", () => {
  async function twoAccounts() {
    const [keptEmail, endedEmail] = [newAddress("kept"), newAddress("ended")];
    const kept = await signIn(broker, keptEmail);
    const ended = await signIn(broker, endedEmail);
    return { kept, ended, keptEmail, endedEmail };
  }

  test("is offered first, with both accounts and their wallets, and changes nothing until it is taken up", async () => {
    const { kept, ended, keptEmail, endedEmail } = await twoAccounts();
    const [keptWallet, endedWallet] = [testWallet(), testWallet()];
    await walletSession(broker, kept, keptWallet);
    const endedSession = await walletSession(broker, ended, endedWallet);
    const login = await proven(kept, endedEmail);
    const { identity, mergeOffer } = await kept.clients.account.linkIdentity(login);
    expect(identity).toBeUndefined();
    expect(mergeOffer).toMatchObject({
      keptAccount: kept.omniAccount,
      endedAccount: ended.omniAccount,
      keptWallets: [{ address: keptWallet.address, verified: true }],
      endedWallets: [{ address: endedWallet.address, verified: true }],
      endedIdentities: [{ value: endedEmail }],
    });
    expect(await valuesOf(kept)).toEqual([keptEmail]);
    expect(await valuesOf(ended)).toEqual([endedEmail]);

    const offerId = mergeOffer?.offerId ?? "";
    const merged = await kept.clients.account.mergeAccount({ ...login, offerId });
    expect(merged.identities.map(({ value }) => value)).toEqual([keptEmail, endedEmail]);
    expect(await reasonOf(ended.clients.account.whoAmI({}))).toBe("SESSION_REVOKED");
    expect(await reasonOf(endedSession.clients.broker.mintOidcJwt({}))).toBe("SESSION_REVOKED");
    expect((await signIn(broker, endedEmail)).omniAccount).toBe(kept.omniAccount);
    const { wallets } = await kept.clients.account.whoAmI({});
    expect(wallets.map(({ address }) => address).sort()).toEqual([keptWallet.address, endedWallet.address].sort());
    // What happened in the account that ended is in the history still.
    const { events } = await kept.clients.account.listEvents({ pageSize: 100 });
    expect(events.filter(({ action, subject }) => action === "login.collected" && subject === endedEmail)).toHaveLength(
      2,
    );
  });

  test("takes the very offer that was agreed to, while both proofs are fresh", async () => {
    const { kept, ended, endedEmail } = await twoAccounts();
    const login = await proven(kept, endedEmail);
    const { mergeOffer } = await kept.clients.account.linkIdentity(login);
    const offerId = mergeOffer?.offerId ?? "";
    expect(await reasonOf(kept.clients.account.mergeAccount({ ...login, offerId: "0".repeat(64) }))).toBe(
      "MERGE_OFFER_CHANGED",
    );
    await linked(ended, newAddress("late-comer"));
    expect(await reasonOf(kept.clients.account.mergeAccount({ ...login, offerId }))).toBe("MERGE_OFFER_CHANGED");
    const again = await kept.clients.account.linkIdentity(login);
    broker.pass(11 * MINUTE);
    const { offerId: newOffer = "" } = again.mergeOffer ?? {};
    expect(await reasonOf(kept.clients.account.mergeAccount({ ...login, offerId: newOffer }))).toBe(
      "FRESH_SIGN_IN_REQUIRED",
    );
    await kept.clients.account.stepUp(await proven(kept, kept.email, LoginPurpose.STEP_UP));
    expect(await reasonOf(kept.clients.account.mergeAccount({ ...login, offerId: newOffer }))).toBe("LOGIN_EXPIRED");
  });
});

describe("taking an identity off", () => {
  test("never the last one; it ends the sessions that it signed in", async () => {
    const [home, work] = [newAddress("home"), newAddress("work")];
    const person = await signIn(broker, home);
    const { identities } = await person.clients.account.listIdentities({});
    const only = { omniAccount: identities[0]?.omniAccount ?? "" };
    expect(await reasonOf(person.clients.account.unlinkIdentity(only))).toBe("LAST_IDENTITY");
    await linked(person, work);
    const atWork = await signIn(broker, work);
    await atWork.clients.account.unlinkIdentity(only);
    expect(await valuesOf(atWork)).toEqual([work]);
    expect(await reasonOf(person.clients.account.whoAmI({}))).toBe("SESSION_REVOKED");
  });

  test("that started the account gives nobody its wallet: it can only be linked again", async () => {
    const [home, work] = [newAddress("home"), newAddress("work")];
    const person = await signIn(broker, home);
    await linked(person, work);
    const atWork = await signIn(broker, work);
    await atWork.clients.account.unlinkIdentity({ omniAccount: person.omniAccount });
    await expect(signIn(broker, home)).rejects.toThrow(/taken off the account/);
    const other = await signIn(broker, newAddress("other"));
    await linked(other, home);
    expect((await signIn(broker, home)).omniAccount).toBe(other.omniAccount);
    expect((await signIn(broker, work)).omniAccount).toBe(person.omniAccount);
  });

  test("needs a sign-in within 5 minutes, and says nothing of other people's", async () => {
    const person = await signIn(broker, newAddress("home"));
    const stranger = await signIn(broker, newAddress("stranger"));
    await linked(person, newAddress("work"));
    const theirs = { omniAccount: stranger.omniAccount };
    expect(await reasonOf(person.clients.account.unlinkIdentity(theirs))).toBe("IDENTITY_NOT_FOUND");
    broker.pass(6 * MINUTE);
    expect(await reasonOf(person.clients.account.unlinkIdentity({ omniAccount: person.omniAccount }))).toBe(
      "FRESH_SIGN_IN_REQUIRED",
    );
  });
});

describe("the other identities are told", () => {
  test("of a new machine and a link, in mails whose link changes nothing by being opened", async () => {
    const [home, work] = [newAddress("home"), newAddress("work")];
    const person = await signIn(broker, home);
    await linked(person, work);
    expect((await notice(work)).subject).toBe("AgentKeys: an identity was linked");
    await signIn(broker, work);
    const { subject, token } = await notice(home);
    expect(subject).toBe("AgentKeys: a new machine signed in");
    expect((await fetch(`${broker.url}/notice`)).status).toBe(200);
    const review = await fetch(`${broker.url}/notice/review`, { method: "POST", body: new URLSearchParams({ token }) });
    expect(await review.text()).toContain("test machine");
    await person.clients.account.whoAmI({});
    const foreign = await fetch(`${broker.url}/notice/report`, {
      method: "POST",
      body: new URLSearchParams({ token }),
      headers: { "sec-fetch-site": "cross-site" },
    });
    expect(foreign.status).toBe(403);
    await person.clients.account.whoAmI({});
  });

  test("and one press signs everything out, freezes the account and suspends who did it", async () => {
    const [home, thief] = [newAddress("home"), newAddress("thief")];
    const person = await signIn(broker, home);
    const wallet = testWallet();
    const minting = await walletSession(broker, person, wallet);
    await linked(person, thief);
    const intruder = await signIn(broker, thief);
    const { token } = await notice(home);
    expect((await pressNotMe(token)).status).toBe(200);
    expect((await pressNotMe(token)).status).toBe(404);

    for (const { clients } of [person, intruder]) {
      expect(await reasonOf(clients.account.whoAmI({}))).toBe("SESSION_REVOKED");
    }
    expect(await reasonOf(minting.clients.broker.mintOidcJwt({}))).toBe("SESSION_REVOKED");
    await expect(signIn(broker, thief)).rejects.toThrow(/was reported/);
    // Not by the wallet alone either.
    const { broker: anyone } = broker.clients();
    const challenge = await anyone.startWalletAuth({ address: wallet.address });
    const signature = await wallet.sign(challenge.siweMessage);
    expect(await reasonOf(anyone.verifyWallet({ requestId: challenge.requestId, signature }))).toBe("ACCOUNT_FROZEN");

    // Its owner may look and put things right, and nothing else, until it is unfrozen.
    const owner = await signIn(broker, home);
    expect((await owner.clients.account.whoAmI({})).frozenAt).toBeDefined();
    expect(await reasonOf(owner.clients.broker.linkWallet({ address: wallet.address }))).toBe("ACCOUNT_FROZEN");
    expect(await reasonOf(owner.clients.login.renewSession({}))).toBe("ACCOUNT_FROZEN");
    const { identities } = await owner.clients.account.listIdentities({});
    const suspect = identities.find(({ suspended }) => suspended);
    expect(suspect?.value).toBe(thief);
    await owner.clients.account.unlinkIdentity({ omniAccount: suspect?.omniAccount ?? "" });
    await owner.clients.account.unfreezeAccount({});
    await walletSession(broker, await signIn(broker, home), wallet);
  });

  test("a later identity can stop the account, but not suspend an earlier one", async () => {
    const [home, work] = [newAddress("home"), newAddress("work")];
    const person = await signIn(broker, home);
    await linked(person, work);
    await signIn(broker, home);
    await pressNotMe((await notice(work)).token);
    const owner = await signIn(broker, home);
    expect((await owner.clients.account.listIdentities({})).identities.map(({ suspended }) => suspended)).toEqual([
      false,
      false,
    ]);
  });

  test("who was taken off by somebody else comes back by one press", async () => {
    const [home, thief] = [newAddress("home"), newAddress("thief")];
    const person = await signIn(broker, home);
    await linked(person, thief);
    const intruder = await signIn(broker, thief);
    await intruder.clients.account.unlinkIdentity({ omniAccount: person.omniAccount });
    const { subject, token } = await notice(home);
    expect(subject).toBe("AgentKeys: an identity was taken off");
    await pressNotMe(token);
    const owner = await signIn(broker, home);
    expect(owner.omniAccount).toBe(person.omniAccount);
    expect(await valuesOf(owner)).toEqual([home, thief]);
    await expect(signIn(broker, thief)).rejects.toThrow(/was reported/);
  });
});

test("a mailbox that was not used for 180 days needs another identity, while that one is used", async () => {
  const [old, used] = [newAddress("old"), newAddress("used")];
  const person = await signIn(broker, old);
  await linked(person, used);
  broker.pass(181 * DAY);
  const active = await signIn(broker, used);
  expect(active.omniAccount).toBe(person.omniAccount);
  await expect(signIn(broker, old)).rejects.toThrow(/not used for long/);
  // Its new owner cannot bring the account over into one of theirs either.
  const stranger = await signIn(broker, newAddress("stranger"));
  expect(await reasonOf(stranger.clients.account.linkIdentity(await proven(stranger, old)))).toBe(
    "SECOND_IDENTITY_REQUIRED",
  );
  await linked(active, old);
  expect((await signIn(broker, old)).omniAccount).toBe(person.omniAccount);
});

test("a mailbox that is the only identity never grows too old", async () => {
  const email = newAddress("alone");
  const { omniAccount } = await signIn(broker, email);
  broker.pass(400 * DAY);
  expect((await signIn(broker, email)).omniAccount).toBe(omniAccount);
});

test("a session says when it was used, and for whom it minted", async () => {
  const person = await signIn(broker, newAddress("p"));
  const { clients } = await walletSession(broker, person);
  await clients.broker.mintOidcJwt({});
  const { sessions } = await person.clients.account.listSessions({});
  expect(sessions.map(({ lastAudience }) => lastAudience)).toEqual(["sts.amazonaws.com", "sts.amazonaws.com"]);
  for (const { lastUsedAt } of sessions) expect(lastUsedAt).toBeDefined();
});

test("a plain bearer session links as well, with a sign-in that was started without a key", async () => {
  const person = await signIn(broker, newAddress("bearer"), { bound: false });
  const email = newAddress("second");
  await linked(person, email);
  const bound = await testKey(broker.clock);
  const present = presentSession({ key: bound, token: () => new Secret(person.token) });
  expect(await reasonOf(broker.clients(present).account.whoAmI({}))).toBe("DPOP_INVALID");
});
