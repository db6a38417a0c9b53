import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { HOUR, MINUTE } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";
import { presentSession } from "@agentkeys/lib/session";

import {
  type Clients,
  type Person,
  reasonOf,
  signIn,
  startTestBroker,
  type TestBroker,
  testKey,
  testWallet,
  walletSession,
} from "./testing/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

describe("from a sign-in to an OIDC JWT", () => {
  test("a relying party that knows only the issuer can verify the JWT, and AWS finds its session tags in it", async () => {
    const ada = await signIn(broker, "ada@example.com");
    const { wallet, session, clients } = await walletSession(broker, ada);
    const { jwt } = await clients.broker.mintOidcJwt({});

    const discovery = (await (await fetch(`${broker.publicUrl}/.well-known/openid-configuration`)).json()) as {
      issuer: string;
      jwks_uri: string;
    };
    const keys = createRemoteJWKSet(new URL(discovery.jwks_uri));
    const { payload, protectedHeader } = await jwtVerify(jwt, keys, {
      issuer: discovery.issuer,
      audience: "sts.amazonaws.com",
      algorithms: ["ES256"],
    });
    expect(protectedHeader.typ).toBe("JWT");
    expect(payload.sub).toBe(`agentkeys:wallet:${wallet.address}`);
    expect(payload["agentkeys_user_wallet"]).toBe(wallet.address);
    expect(payload["agentkeys_actor_omni"]).toBe(session.omniAccount);
    expect(payload["https://aws.amazon.com/tags"]).toEqual({
      principal_tags: { agentkeys_user_wallet: [wallet.address], agentkeys_actor_omni: [session.omniAccount] },
      transitive_tag_keys: ["agentkeys_user_wallet", "agentkeys_actor_omni"],
    });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(300);
    expect(payload.nbf).toBe(payload.iat);
  });

  test("the documents say all that AWS looks for, to anyone, and may be kept for 5 minutes", async () => {
    const responses = await Promise.all(
      ["openid-configuration", "jwks.json", "agentkeys-session-jwks.json"].map((name) =>
        fetch(`${broker.url}/.well-known/${name}`),
      ),
    );
    for (const { status, headers } of responses) {
      expect(status).toBe(200);
      expect(headers.get("content-type")).toMatch(/^application\/json/);
      expect(headers.get("cache-control")).toBe("public, max-age=300");
    }
    const [discovery, ...keySets] = await Promise.all(
      responses.map((response) => response.json() as Promise<Record<string, unknown>>),
    );
    expect(discovery).toMatchObject({
      issuer: broker.publicUrl,
      jwks_uri: `${broker.publicUrl}/.well-known/jwks.json`,
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: ["ES256"],
    });
    for (const set of keySets) {
      const [key, ...others] = set["keys"] as Record<string, string>[];
      expect(others).toEqual([]);
      expect(Object.keys(key ?? {}).sort()).toEqual(["alg", "crv", "kid", "kty", "use", "x", "y"]);
      expect(key).toMatchObject({ alg: "ES256", crv: "P-256", kty: "EC", use: "sig" });
    }
  });

  test("two people have two wallets and two subjects", async () => {
    const [ada, bob] = [await signIn(broker, "ada2@example.com"), await signIn(broker, "bob2@example.com")];
    const jwtOf = async (person: typeof ada) =>
      decodeJwt((await (await walletSession(broker, person)).clients.broker.mintOidcJwt({})).jwt);
    expect((await jwtOf(ada)).sub).not.toBe((await jwtOf(bob)).sub);
  });

  test("signing in again reaches the same account", async () => {
    const first = await signIn(broker, "again@example.com");
    const second = await signIn(broker, "  Again@EXAMPLE.com ");
    expect(second.omniAccount).toBe(first.omniAccount);
  });

  test("the session token says what the contract says and names a session key that is no OIDC key", async () => {
    const ada = await signIn(broker, "claims@example.com");
    const { typ, alg, kid } = decodeProtectedHeader(ada.token);
    expect({ typ, alg }).toEqual({ typ: "at+jwt", alg: "ES256" });
    const claims = decodeJwt(ada.token);
    expect(claims).toMatchObject({
      iss: broker.publicUrl,
      aud: "agentkeys",
      kind: "identity",
      sub: ada.omniAccount,
      anchor: ada.omniAccount,
      cnf: { jkt: ada.key?.thumbprint },
    });
    const kids = async (name: string): Promise<unknown[]> => {
      const { keys } = (await (await fetch(`${broker.url}/.well-known/${name}`)).json()) as { keys: { kid: string }[] };
      return keys.map((key) => key.kid);
    };
    expect(await kids("agentkeys-session-jwks.json")).toContain(kid);
    expect(await kids("jwks.json")).not.toContain(kid);
  });
});

describe("a challenge", () => {
  test("is spent by the first correct signature, also when two come at once", async () => {
    const ada = await signIn(broker, "race@example.com");
    const wallet = testWallet();
    await ada.clients.broker.linkWallet({ address: wallet.address });
    const challenge = await ada.clients.broker.startWalletAuth({ address: wallet.address });
    const signature = await wallet.sign(challenge.siweMessage);
    const { broker: anyone } = broker.clients(presentSession({ key: ada.key! }));
    const answers = await Promise.allSettled(
      Array.from({ length: 8 }, () => anyone.verifyWallet({ requestId: challenge.requestId, signature })),
    );
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await reasonOf(anyone.verifyWallet({ requestId: challenge.requestId, signature }))).toBe("CHALLENGE_SPENT");
  });

  test("is not spent by a wrong signature", async () => {
    const ada = await signIn(broker, "wrong@example.com");
    const [wallet, other] = [testWallet(), testWallet()];
    await ada.clients.broker.linkWallet({ address: wallet.address });
    const { requestId, siweMessage } = await ada.clients.broker.startWalletAuth({ address: wallet.address });
    const { broker: anyone } = broker.clients(presentSession({ key: ada.key! }));
    const wrong = await other.sign(siweMessage);
    const overOther = await wallet.sign(siweMessage.replace("example", "exampel") + " ");
    const good = await wallet.sign(siweMessage);
    const v01 = good.slice(0, -2) + (good.endsWith("1b") ? "00" : "01");
    for (const signature of [wrong, overOther, v01, "0x" + "00".repeat(65), "0x" + "ff".repeat(65)]) {
      expect(await reasonOf(anyone.verifyWallet({ requestId, signature }))).toBe("SIGNATURE_INVALID");
    }
    await anyone.verifyWallet({ requestId, signature: good });
  });

  test("expires after 5 minutes", async () => {
    const late = await startTestBroker();
    try {
      const ada = await signIn(late, "late@example.com");
      const wallet = testWallet();
      await ada.clients.broker.linkWallet({ address: wallet.address });
      const { requestId, siweMessage } = await ada.clients.broker.startWalletAuth({ address: wallet.address });
      late.pass(5 * MINUTE + 1000);
      const { broker: anyone } = late.clients(presentSession({ key: ada.key! }));
      const answer = anyone.verifyWallet({ requestId, signature: await wallet.sign(siweMessage) });
      expect(await reasonOf(answer)).toBe("CHALLENGE_EXPIRED");
    } finally {
      await late.close();
    }
  });

  test("of a key-bound session is worth nothing without that key", async () => {
    const ada = await signIn(broker, "bound@example.com");
    const wallet = testWallet();
    await ada.clients.broker.linkWallet({ address: wallet.address });
    const { requestId, siweMessage } = await ada.clients.broker.startWalletAuth({ address: wallet.address });
    const answer = { requestId, signature: await wallet.sign(siweMessage) };
    expect(await reasonOf(broker.clients().broker.verifyWallet(answer))).toBe("DPOP_INVALID");
    const thief = await testKey(broker.clock);
    const stolen = broker.clients(presentSession({ key: thief })).broker.verifyWallet(answer);
    expect(await reasonOf(stolen)).toBe("DPOP_INVALID");
    await broker.clients(presentSession({ key: ada.key! })).broker.verifyWallet(answer);
  });

  test("is told of in its owner's history, whatever became of it", async () => {
    const own = await startTestBroker();
    try {
      const ada = await signIn(own, "ada@example.com");
      const wallet = testWallet();
      await ada.clients.broker.linkWallet({ address: wallet.address });
      const { broker: anyone } = own.clients(presentSession({ key: ada.key! }));
      const challenge = async () => {
        const { requestId, siweMessage } = await ada.clients.broker.startWalletAuth({ address: wallet.address });
        return { requestId, signature: await wallet.sign(siweMessage) };
      };
      const answer = await challenge();
      await reasonOf(own.clients().broker.verifyWallet(answer));
      await reasonOf(anyone.verifyWallet({ ...answer, signature: "0x" + "00".repeat(65) }));
      await anyone.verifyWallet(answer);
      await reasonOf(anyone.verifyWallet(answer));
      const late = await challenge();
      own.pass(6 * MINUTE);
      await reasonOf(anyone.verifyWallet(late));

      const { events } = await ada.clients.account.listEvents({});
      const answers = events.filter(({ action }) => action === "wallet.verified").reverse();
      expect(answers.map(({ outcome }) => outcome)).toEqual([
        "DPOP_INVALID",
        "SIGNATURE_INVALID",
        "ok",
        "CHALLENGE_SPENT",
        "CHALLENGE_EXPIRED",
      ]);
      for (const event of answers) {
        expect(event).toMatchObject({ subject: wallet.address, sourceAddress: "127.0.0.1" });
        expect(event.requestId).not.toBe("");
      }
    } finally {
      await own.close();
    }
  });

  test("names the broker, the wallet in EIP-55, a nonce of 128 bits and both times", async () => {
    const { address } = testWallet();
    const { siweMessage, requestId, challengeToken } = await broker.clients().broker.startWalletAuth({ address });
    const domain = new URL(broker.publicUrl).host;
    expect(siweMessage).toMatch(new RegExp(`^${domain} wants you to sign in with your Ethereum account:\n0x`));
    expect(siweMessage.toLowerCase()).toContain(address);
    expect(siweMessage).toMatch(/\nNonce: [0-9a-f]{32}\n/);
    expect(siweMessage).toContain(`\nRequest ID: ${requestId}`);
    expect(siweMessage).toMatch(/\nIssued At: .*Z\nExpiration Time: .*Z\n/);
    expect(decodeProtectedHeader(challengeToken).typ).toBe("agentkeys-challenge+jwt");
    expect(decodeJwt(challengeToken)).toMatchObject({ jti: requestId, address, domain });
  });
});

describe("claims and links", () => {
  test("a claim gives no rights and stops nobody else's", async () => {
    const [ada, mallory] = [await signIn(broker, "claim-a@example.com"), await signIn(broker, "claim-m@example.com")];
    const wallet = testWallet();
    const claimed = await mallory.clients.broker.linkWallet({ address: wallet.address });
    expect(claimed.link?.verified).toBe(false);
    const { session } = await walletSession(broker, ada, wallet);
    expect(session.walletAddress).toBe(wallet.address);
    const { wallets } = await ada.clients.account.whoAmI({});
    expect(wallets).toMatchObject([{ address: wallet.address, verified: true }]);
  });

  test("a wallet belongs to one account, and only who proves it is told that it is taken", async () => {
    const [ada, bob] = [await signIn(broker, "taken-a@example.com"), await signIn(broker, "taken-b@example.com")];
    const wallet = testWallet();
    await walletSession(broker, ada, wallet);
    const claimed = await bob.clients.broker.linkWallet({ address: wallet.address });
    expect(claimed.link?.verified).toBe(false);
    expect(await reasonOf(walletSession(broker, bob, wallet))).toBe("WALLET_TAKEN");
  });

  test("a wallet that nobody has linked signs in to nothing", async () => {
    const wallet = testWallet();
    const anyone = broker.clients().broker;
    const { requestId, siweMessage } = await anyone.startWalletAuth({ address: wallet.address });
    const answer = anyone.verifyWallet({ requestId, signature: await wallet.sign(siweMessage) });
    expect(await reasonOf(answer)).toBe("WALLET_NOT_LINKED");
  });

  test("a wallet session mints for as long as the link stands", async () => {
    const ada = await signIn(broker, "unlinked@example.com");
    const { clients, wallet } = await walletSession(broker, ada);
    await clients.broker.mintOidcJwt({});
    broker.sql(`DELETE FROM wallet_link WHERE address = '${wallet.address}'`);
    expect(await reasonOf(clients.broker.mintOidcJwt({}))).toBe("WALLET_NOT_LINKED");
  });

  test("a wallet that was claimed by nobody is not linked by the challenge of a session", async () => {
    const ada = await signIn(broker, "unclaimed@example.com");
    const wallet = testWallet();
    const { requestId, siweMessage } = await ada.clients.broker.startWalletAuth({ address: wallet.address });
    const { broker: anyone } = broker.clients(presentSession({ key: ada.key! }));
    const answer = anyone.verifyWallet({ requestId, signature: await wallet.sign(siweMessage) });
    expect(await reasonOf(answer)).toBe("WALLET_NOT_LINKED");
    expect((await ada.clients.account.whoAmI({})).wallets).toEqual([]);
  });

  test("the answer is worth nothing once the session that asked has ended", async () => {
    const ada = await signIn(broker, "ended@example.com");
    const wallet = testWallet();
    await ada.clients.broker.linkWallet({ address: wallet.address });
    const { requestId, siweMessage } = await ada.clients.broker.startWalletAuth({ address: wallet.address });
    await ada.clients.account.revokeSession({});
    const { broker: anyone } = broker.clients(presentSession({ key: ada.key! }));
    const answer = anyone.verifyWallet({ requestId, signature: await wallet.sign(siweMessage) });
    expect(await reasonOf(answer)).toBe("SESSION_REVOKED");
    const again = await signIn(broker, "ended@example.com");
    expect((await again.clients.account.whoAmI({})).wallets).toMatchObject([{ verified: false }]);
  });

  test("a linked wallet signs in to its account by itself", async () => {
    const ada = await signIn(broker, "alone@example.com");
    const { wallet } = await walletSession(broker, ada);
    const anyone = broker.clients().broker;
    const { requestId, siweMessage } = await anyone.startWalletAuth({ address: wallet.address });
    const session = await anyone.verifyWallet({ requestId, signature: await wallet.sign(siweMessage) });
    expect(decodeJwt(session.sessionJwt)).toMatchObject({ kind: "wallet", anchor: ada.omniAccount });
  });
});

describe("who may do what", () => {
  test("only a wallet session mints", async () => {
    const ada = await signIn(broker, "mint@example.com");
    expect(await reasonOf(ada.clients.broker.mintOidcJwt({}))).toBe("SESSION_KIND");
    expect(await reasonOf(broker.clients().broker.mintOidcJwt({}))).toBe("SESSION_REQUIRED");
  });

  test("a wallet session manages no account", async () => {
    const ada = await signIn(broker, "kind@example.com");
    const { clients, wallet } = await walletSession(broker, ada);
    expect(await reasonOf(clients.account.whoAmI({}))).toBe("SESSION_KIND");
    expect(await reasonOf(clients.broker.linkWallet({ address: wallet.address }))).toBe("SESSION_KIND");
    expect(await reasonOf(clients.broker.startWalletAuth({ address: wallet.address }))).toBe("SESSION_KIND");
  });

  test("an audience that is not allowed gets no token", async () => {
    const ada = await signIn(broker, "aud@example.com");
    const { clients } = await walletSession(broker, ada);
    expect(await reasonOf(clients.broker.mintOidcJwt({ audience: "https://evil.example" }))).toBe(
      "AUDIENCE_NOT_ALLOWED",
    );
  });

  test("an OIDC JWT is no session, and a challenge token is none", async () => {
    const ada = await signIn(broker, "confused@example.com");
    const { clients, wallet } = await walletSession(broker, ada);
    const { jwt } = await clients.broker.mintOidcJwt({});
    const { challengeToken } = await ada.clients.broker.startWalletAuth({ address: wallet.address });
    for (const token of [jwt, challengeToken]) {
      const response = await fetch(`${broker.url}/v1/account`, { headers: { authorization: `Bearer ${token}` } });
      expect(response.status).toBe(401);
    }
  });

  test("what was removed from this kind of system does not exist", async () => {
    for (const path of ["/v1/auth/exchange", "/session/validate", "/v1/session/validate"]) {
      const response = await fetch(broker.url + path, {
        method: "POST",
        body: "{}",
        headers: { "content-type": "application/json" },
      });
      expect(response.status).toBe(404);
    }
  });
});

describe("limits", () => {
  const once = { times: 1, seconds: 60 };

  test.each([
    [
      "claims",
      async (_own: TestBroker, _clients: Clients, ada: Person) => reasonOf(ada.clients.broker.linkWallet(testWallet())),
    ],
    ["challenges", async (own: TestBroker) => reasonOf(own.clients().broker.startWalletAuth(testWallet()))],
    ["mints", async (_own: TestBroker, clients: Clients) => reasonOf(clients.broker.mintOidcJwt({}))],
    [
      "wrongSignatures",
      async (own: TestBroker) => {
        const answer = { requestId: "A".repeat(22), signature: "0x" + "00".repeat(65) };
        await reasonOf(own.clients().broker.verifyWallet(answer));
        return reasonOf(own.clients().broker.verifyWallet(answer));
      },
    ],
    [
      "renewals",
      async (own: TestBroker, _clients: Clients, ada: Person) => {
        const { sessionJwt } = await ada.clients.login.renewSession({});
        const present = presentSession({ key: ada.key!, token: () => new Secret(sessionJwt) });
        return reasonOf(own.clients(present).login.renewSession({}));
      },
    ],
  ])("too many %s are RATE_LIMITED", async (name, oneMore) => {
    const own = await startTestBroker({ allowances: { [name]: once } });
    try {
      const ada = await signIn(own, "ada@example.com");
      const { clients } = await walletSession(own, ada);
      await clients.broker.mintOidcJwt({});
      expect(await oneMore(own, clients, ada)).toBe("RATE_LIMITED");
    } finally {
      await own.close();
    }
  });
});

test("a session that the store no longer knows is refused", async () => {
  const own = await startTestBroker();
  try {
    const ada = await signIn(own, "ada@example.com");
    own.pass(11 * HOUR);
    own.sql("DELETE FROM session");
    expect(await reasonOf(ada.clients.account.whoAmI({}))).toBe("SESSION_REVOKED");
  } finally {
    await own.close();
  }
});

test("of claims that were never proven the newest are remembered, beside every wallet that was", async () => {
  const own = await startTestBroker();
  try {
    const ada = await signIn(own, "ada@example.com");
    const claimed = Array.from({ length: 60 }, (_, i) => `0x${(i + 1).toString(16).padStart(40, "0")}`);
    const { wallet } = await walletSession(own, ada);
    for (const address of claimed) {
      own.pass(1000);
      await ada.clients.broker.linkWallet({ address });
    }
    // One that stands already is no older for it.
    await ada.clients.broker.linkWallet({ address: claimed[10]! });
    const { wallets } = await ada.clients.account.whoAmI({});
    expect(wallets.filter(({ verified }) => verified).map(({ address }) => address)).toEqual([wallet.address]);
    const remembered = wallets.filter(({ verified }) => !verified).map(({ address }) => address);
    expect(remembered.sort()).toEqual(claimed.slice(10));
  } finally {
    await own.close();
  }
});
