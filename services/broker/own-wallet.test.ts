import { secp256k1 } from "@noble/curves/secp256k1.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { computeOmniAccount } from "@agentkeys/lib/account";
import { MINUTE } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";
import { presentSession } from "@agentkeys/lib/session";

import {
  type Clients,
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

type Wallet = ReturnType<typeof testWallet>;

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

let count = 0;
const newAddress = (name: string): string => `${name}-${++count}@example.com`;
const evmAccount = (address: string): string =>
  computeOmniAccount({ clientId: "agentkeys", identityType: "evm", identityValue: address });

/** A machine with a device key, and nobody signed in on it yet. */
async function newMachine(): Promise<{ key: Awaited<ReturnType<typeof testKey>>; clients: Clients }> {
  const key = await testKey(broker.clock);
  return { key, clients: broker.clients(presentSession({ key })) };
}

/** A sign-in that a machine started, and what its wallet has to sign. */
async function challenged(clients: Clients, wallet: Wallet, purpose = LoginPurpose.SIGN_IN) {
  const started = await clients.login.startWalletLogin({ deviceName: "ada's läptop", purpose });
  const held = { loginId: started.loginId, loginSecret: started.loginSecret };
  const challenge = await clients.broker.startWalletAuth({ address: wallet.address, ...held });
  return { ...started, held, challenge };
}

/** The same, signed and confirmed. */
async function proven(clients: Clients, wallet: Wallet, purpose?: LoginPurpose) {
  const { held, challenge } = await challenged(clients, wallet, purpose);
  const signature = await wallet.sign(challenge.siweMessage);
  await broker.clients().broker.verifyWallet({ requestId: challenge.requestId, signature });
  return held;
}

/** Signs somebody in on a new machine, with a wallet of their own. */
async function signInByWallet(wallet: Wallet): Promise<Person> {
  const { key, clients } = await newMachine();
  const session = await clients.login.awaitLogin(await proven(clients, wallet));
  const present = presentSession({ key, token: () => new Secret(session.sessionJwt) });
  const { sessionJwt: token, omniAccount } = session;
  return { clients: broker.clients(present), key, token, omniAccount, email: wallet.address };
}

const asMachine = ({ key }: Person): Clients => broker.clients(key && presentSession({ key }));

describe("an own wallet", () => {
  test("signs in by its signature alone, to the account that it anchors, on every machine", async () => {
    const wallet = testWallet();
    const { clients } = await newMachine();
    const { held, challenge } = await challenged(clients, wallet);
    expect(await reasonOf(clients.login.awaitLogin(held, { timeoutMs: 900 }))).toBe("LOGIN_PENDING");
    const signature = await wallet.sign(challenge.siweMessage);
    const answer = { requestId: challenge.requestId, signature };
    const verified = await broker.clients().broker.verifyWallet(answer);
    expect(verified).toMatchObject({
      sessionJwt: "",
      walletAddress: wallet.address,
      omniAccount: evmAccount(wallet.address),
    });
    const session = await clients.login.awaitLogin(held);
    expect(session.omniAccount).toBe(evmAccount(wallet.address));
    expect(session.identity).toMatchObject({ type: IdentityType.EVM, value: wallet.address });
    expect(await reasonOf(broker.clients().broker.verifyWallet(answer))).toBe("CHALLENGE_SPENT");
    expect((await signInByWallet(wallet)).omniAccount).toBe(session.omniAccount);
  });

  test("signs a message that says what it does, for which machine, and the code, in plain ASCII, and nothing that a key service signs", async () => {
    const wallet = testWallet();
    const { clients } = await newMachine();
    const deeds = [
      [LoginPurpose.SIGN_IN, "Sign in to AgentKeys on the machine 'adas laptop', as this wallet."],
      [
        LoginPurpose.LINK,
        "Let this wallet sign in to the AgentKeys account that the machine 'adas laptop' is signed in to.",
      ],
      [LoginPurpose.STEP_UP, "Prove to AgentKeys for the machine 'adas laptop' that you hold this wallet."],
    ] as const;
    for (const [purpose, deed] of deeds) {
      const { challenge, userCode } = await challenged(clients, wallet, purpose);
      expect(challenge.challengeToken).toBe("");
      expect(challenge.siweMessage).toContain(deed);
      expect(challenge.siweMessage).toContain(`shows the code ${userCode}.`);
      expect(challenge.siweMessage).toContain("\nChain ID: 1\n");
      expect(challenge.siweMessage).toMatch(/^[\x20-\x7e\n]+$/);
    }
    const hostile = "x'. Sign in to Bank\u202e (code AAAA-AAAA)";
    const { loginId, loginSecret } = await clients.login.startWalletLogin({ deviceName: hostile });
    const { siweMessage } = await clients.broker.startWalletAuth({ address: wallet.address, loginId, loginSecret });
    expect(siweMessage).toContain("on the machine 'x? Sign in to Bank ?code AAAA-AAAA?', as this wallet.");
  });

  test("is asked only for the machine that started the sign-in, with its secret and its key, while it waits", async () => {
    const wallet = testWallet();
    const { clients } = await newMachine();
    const started = await clients.login.startWalletLogin({});
    const held = { loginId: started.loginId, loginSecret: started.loginSecret };
    const start = (by: Clients, with_: object) =>
      reasonOf(by.broker.startWalletAuth({ address: wallet.address, ...with_ }));
    expect(await start(clients, { ...held, loginSecret: "A".repeat(43) })).toBe("LOGIN_NOT_FOUND");
    expect(await start(clients, { loginId: held.loginId })).toBe("LOGIN_NOT_FOUND");
    expect(await start(clients, { loginSecret: held.loginSecret })).toBe("LOGIN_NOT_FOUND");
    expect(await start(broker.clients(), held)).toBe("DPOP_INVALID");
    expect(await start((await newMachine()).clients, held)).toBe("DPOP_INVALID");
    const mail = await clients.login.startEmailLogin({ email: newAddress("mail") });
    expect(await start(clients, { loginId: mail.loginId, loginSecret: mail.loginSecret })).toBe("LOGIN_NOT_FOUND");
    const token = started.pageUrl.split("#")[1] ?? "";
    expect((await postForm(broker, "confirm", token)).status).toBe(410);
    await postForm(broker, "refuse", token);
    expect(await start(clients, held)).toBe("LOGIN_REFUSED");
    expect(await reasonOf(clients.login.awaitLogin(held))).toBe("LOGIN_REFUSED");
  });

  test("that signed something else, or another key's signature, or one with a high s, confirms nothing", async () => {
    const [wallet, other] = [testWallet(), testWallet()];
    const { clients } = await newMachine();
    const { held, challenge } = await challenged(clients, wallet);
    const good = await wallet.sign(challenge.siweMessage);
    const order = secp256k1.Point.Fn.ORDER;
    const s = (order - BigInt(`0x${good.slice(66, 130)}`)).toString(16).padStart(64, "0");
    const highS = `${good.slice(0, 66)}${s}${good.endsWith("1b") ? "1c" : "1b"}`;
    const wrong = [await wallet.sign(challenge.siweMessage + " "), await other.sign(challenge.siweMessage), highS];
    for (const signature of [...wrong, `${good}00`]) {
      const answer = broker.clients().broker.verifyWallet({ requestId: challenge.requestId, signature });
      expect(await reasonOf(answer)).toBe("SIGNATURE_INVALID");
    }
    expect(await reasonOf(clients.login.awaitLogin(held, { timeoutMs: 900 }))).toBe("LOGIN_PENDING");
  });

  test("that signs twice at once confirms once; and a second challenge of a confirmed sign-in is worth nothing", async () => {
    const [wallet, other] = [testWallet(), testWallet()];
    const { clients } = await newMachine();
    const { held, challenge } = await challenged(clients, wallet);
    const second = await clients.broker.startWalletAuth({ address: other.address, ...held });
    const signature = await wallet.sign(challenge.siweMessage);
    const answers = await Promise.allSettled(
      [1, 2, 3].map(() => broker.clients().broker.verifyWallet({ requestId: challenge.requestId, signature })),
    );
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const late = { requestId: second.requestId, signature: await other.sign(second.siweMessage) };
    expect(await reasonOf(broker.clients().broker.verifyWallet(late))).toBe("LOGIN_NOT_FOUND");
    expect((await clients.login.awaitLogin(held)).identity?.value).toBe(wallet.address);
  });

  test("has as long as a challenge lives, and never longer than the sign-in", async () => {
    const wallet = testWallet();
    const { clients } = await newMachine();
    const { held, challenge } = await challenged(clients, wallet);
    broker.pass(5 * MINUTE);
    const answer = { requestId: challenge.requestId, signature: await wallet.sign(challenge.siweMessage) };
    expect(await reasonOf(broker.clients().broker.verifyWallet(answer))).toBe("CHALLENGE_EXPIRED");
    broker.pass(8 * MINUTE);
    const last = await clients.broker.startWalletAuth({ address: wallet.address, ...held });
    expect(Number(last.expiresAt?.seconds) * 1000).toBeLessThanOrEqual(broker.clock() + 2 * MINUTE);
    broker.pass(2 * MINUTE);
    const start = clients.broker.startWalletAuth({ address: wallet.address, ...held });
    expect(await reasonOf(start)).toBe("LOGIN_EXPIRED");
  });

  test("is linked to an account, brings one that it has along in a merge, and is what a step-up takes", async () => {
    const [wallet, own] = [testWallet(), testWallet()];
    const person = await signIn(broker, newAddress("ada"));
    const linked = await person.clients.account.linkIdentity(
      await proven(asMachine(person), wallet, LoginPurpose.LINK),
    );
    expect(linked.identity).toMatchObject({ type: IdentityType.EVM, value: wallet.address });
    expect((await signInByWallet(wallet)).omniAccount).toBe(person.omniAccount);

    const other = await signInByWallet(own);
    const login = await proven(asMachine(person), own, LoginPurpose.LINK);
    const { mergeOffer } = await person.clients.account.linkIdentity(login);
    expect(mergeOffer?.endedAccount).toBe(other.omniAccount);
    await person.clients.account.mergeAccount({ ...login, offerId: mergeOffer?.offerId ?? "" });
    expect((await signInByWallet(own)).omniAccount).toBe(person.omniAccount);

    broker.pass(6 * MINUTE);
    const unlink = () => person.clients.account.unlinkIdentity({ omniAccount: evmAccount(wallet.address) });
    expect(await reasonOf(unlink())).toBe("FRESH_SIGN_IN_REQUIRED");
    await person.clients.account.stepUp(await proven(asMachine(person), own, LoginPurpose.STEP_UP));
    await unlink();
  });
});

describe("a wallet of an account is nobody's identity", () => {
  test("whichever account, when the challenge is asked for", async () => {
    const person = await signIn(broker, newAddress("ada"));
    const { wallet } = await walletSession(broker, person);
    for (const clients of [asMachine(person), (await newMachine()).clients]) {
      expect(await reasonOf(challenged(clients, wallet))).toBe("WALLET_NOT_OWN");
    }
  });

  test("when it becomes one between the challenge and the signature", async () => {
    const wallet = testWallet();
    const { clients } = await newMachine();
    const { challenge } = await challenged(clients, wallet);
    await walletSession(broker, await signIn(broker, newAddress("ada")), wallet);
    const answer = { requestId: challenge.requestId, signature: await wallet.sign(challenge.siweMessage) };
    expect(await reasonOf(broker.clients().broker.verifyWallet(answer))).toBe("WALLET_NOT_OWN");
  });

  test("when it becomes one between the signature and what the sign-in is used for", async () => {
    const [first, second] = [testWallet(), testWallet()];
    const { clients } = await newMachine();
    const signingIn = await proven(clients, first);
    const person = await signIn(broker, newAddress("eve"));
    const linking = await proven(asMachine(person), second, LoginPurpose.LINK);
    for (const wallet of [first, second]) await walletSession(broker, await signIn(broker, newAddress("ada")), wallet);
    expect(await reasonOf(clients.login.awaitLogin(signingIn))).toBe("WALLET_NOT_OWN");
    expect(await reasonOf(person.clients.account.linkIdentity(linking))).toBe("WALLET_NOT_OWN");
  });

  test("and the reverse: an address that signs somebody in, or once did, is nobody's to link", async () => {
    const wallet = testWallet();
    const owner = await signInByWallet(wallet);
    const person = await signIn(broker, newAddress("eve"));
    expect(await reasonOf(walletSession(broker, person, wallet))).toBe("WALLET_TAKEN");
    expect(await reasonOf(walletSession(broker, owner, wallet))).toBe("WALLET_TAKEN");
    const email = newAddress("owner");
    const { loginId, loginSecret } = await asMachine(owner).login.startEmailLogin({
      email,
      purpose: LoginPurpose.LINK,
    });
    await postForm(broker, "confirm", mailedToken(broker, email));
    await owner.clients.account.linkIdentity({ loginId, loginSecret });
    await owner.clients.account.unlinkIdentity({ omniAccount: evmAccount(wallet.address) });
    expect(await reasonOf(walletSession(broker, person, wallet))).toBe("WALLET_TAKEN");
  });
});

describe("a retired wallet", () => {
  const retire = ({ clients }: Person, { address }: Wallet) => clients.account.retireWallet({ address });
  const linkOf = async ({ clients }: Person, { address }: Wallet) =>
    (await clients.account.whoAmI({})).wallets.find((link) => link.address === address);

  test("loses its sessions, gets no new one, stays listed, and is never anybody else's", async () => {
    const person = await signIn(broker, newAddress("ada"));
    const { wallet, clients } = await walletSession(broker, person);
    await clients.broker.mintOidcJwt({});
    const { link } = await retire(person, wallet);
    expect(link?.retiredAt).toBeDefined();
    expect(await reasonOf(clients.broker.mintOidcJwt({}))).toBe("SESSION_REVOKED");
    expect(await linkOf(person, wallet)).toMatchObject({ verified: true, retiredAt: link?.retiredAt });
    expect((await retire(person, wallet)).link?.retiredAt).toEqual(link?.retiredAt);

    const eve = await signIn(broker, newAddress("eve"));
    expect(await reasonOf(walletSession(broker, eve, wallet))).toBe("WALLET_TAKEN");
    for (const { broker: asked } of [broker.clients(), person.clients]) {
      const challenge = await asked.startWalletAuth({ address: wallet.address });
      const answer = { requestId: challenge.requestId, signature: await wallet.sign(challenge.siweMessage) };
      const answered = asMachine(person).broker.verifyWallet(answer);
      await expect(answered).rejects.toThrow("was retired");
      expect(await reasonOf(asMachine(person).broker.verifyWallet(answer))).toBe("CHALLENGE_SPENT");
    }
    const { events } = await person.clients.account.listEvents({});
    expect(events.map(({ action }) => action)).toContain("wallet.retired");
  });

  test("comes back by being claimed after a new sign-in, and by no older session", async () => {
    const email = newAddress("ada");
    const person = await signIn(broker, email);
    const { wallet } = await walletSession(broker, person);
    await retire(person, wallet);
    broker.pass(6 * MINUTE);
    await expect(walletSession(broker, person, wallet)).rejects.toThrow("was retired");
    expect((await linkOf(person, wallet))?.retiredAt).toBeDefined();
    const again = await signIn(broker, email);
    const { clients } = await walletSession(broker, again, wallet);
    await clients.broker.mintOidcJwt({});
    expect((await linkOf(again, wallet))?.retiredAt).toBeUndefined();
    const { events } = await again.clients.account.listEvents({});
    expect(events.map(({ action }) => action)).toContain("wallet.restored");
  });

  test("is retired by its own account only, after a sign-in of the last minutes", async () => {
    const person = await signIn(broker, newAddress("ada"));
    const { wallet } = await walletSession(broker, person);
    const claimed = testWallet();
    await person.clients.broker.linkWallet({ address: claimed.address });
    expect(await reasonOf(retire(person, claimed))).toBe("WALLET_NOT_LINKED");
    expect(await reasonOf(retire(await signIn(broker, newAddress("eve")), wallet))).toBe("WALLET_NOT_LINKED");
    broker.pass(6 * MINUTE);
    expect(await reasonOf(retire(person, wallet))).toBe("FRESH_SIGN_IN_REQUIRED");
  });
});

describe("a sign-in for one purpose", () => {
  const purposes = { "sign in": LoginPurpose.SIGN_IN, link: LoginPurpose.LINK, "step up": LoginPurpose.STEP_UP };
  const uses: Record<string, (person: Person, held: { loginId: string; loginSecret: string }) => Promise<unknown>> = {
    "sign in": (person, held) => asMachine(person).login.awaitLogin(held, { timeoutMs: 900 }),
    link: ({ clients }, held) => clients.account.linkIdentity(held),
    merge: ({ clients }, held) => clients.account.mergeAccount({ ...held, offerId: "0".repeat(64) }),
    "step up": ({ clients }, held) => clients.account.stepUp(held),
  };
  const allowed = (purpose: string, use: string): boolean => use === purpose || (purpose === "link" && use === "merge");

  test.each(Object.entries(purposes))(
    "to %s is refused for everything else, and is not used up by that",
    async (name, purpose) => {
      const wallet = testWallet();
      const person = await signInByWallet(wallet);
      const held = await proven(asMachine(person), wallet, purpose);
      for (const [use, attempt] of Object.entries(uses)) {
        if (!allowed(name, use)) expect(await reasonOf(attempt(person, held)), use).toBe("LOGIN_PURPOSE");
      }
      await uses[name]?.(person, held);
    },
  );
});

test("sign-ins with wallets are limited by where they are started", async () => {
  const strict = await startTestBroker({ allowances: { walletLogins: { times: 2, seconds: 60 } } });
  try {
    const { login } = strict.clients();
    await login.startWalletLogin({});
    await login.startWalletLogin({});
    expect(await reasonOf(login.startWalletLogin({}))).toBe("RATE_LIMITED");
  } finally {
    await strict.close();
  }
});
