import { decodeJwt, SignJWT, UnsecuredJWT } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { HOUR, MINUTE } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";
import { presentSession } from "@agentkeys/lib/session";

import {
  reasonOf,
  signIn,
  startTestBroker,
  type TestBroker,
  testKey,
  testWallet,
  walletSession,
} from "./testing/broker.ts";

let broker: TestBroker;
beforeEach(async () => {
  broker = await startTestBroker();
});
afterEach(() => broker.close());

const as = (token: string, key?: Awaited<ReturnType<typeof testKey>>) =>
  broker.clients(presentSession({ ...(key && { key }), token: () => new Secret(token) }));

describe("lives", () => {
  test("a key-bound identity session lives 12 hours, a wallet session one, a bearer session 15 minutes", async () => {
    const ada = await signIn(broker, "ada@example.com");
    const bob = await signIn(broker, "bob@example.com", { bound: false });
    const { session } = await walletSession(broker, ada);
    const life = (token: string): number => {
      const { exp = 0, iat = 0 } = decodeJwt(token);
      return (exp - iat) * 1000;
    };
    expect(life(ada.token)).toBe(12 * HOUR);
    expect(life(session.sessionJwt)).toBe(HOUR);
    expect(life(bob.token)).toBe(15 * MINUTE);
    broker.pass(12 * HOUR + MINUTE);
    expect(await reasonOf(ada.clients.account.whoAmI({}))).toBe("SESSION_EXPIRED");
  });

  test("renewing gives a new token and ends the old one; what came from the old one goes on", async () => {
    const ada = await signIn(broker, "ada@example.com");
    const { clients: wallet } = await walletSession(broker, ada);
    const renewed = await ada.clients.login.renewSession({});
    expect(await reasonOf(ada.clients.account.whoAmI({}))).toBe("SESSION_REVOKED");
    const next = as(renewed.sessionJwt, ada.key);
    expect((await next.account.whoAmI({})).omniAccount).toBe(ada.omniAccount);
    await wallet.broker.mintOidcJwt({});
    await next.account.revokeSession({});
    expect(await reasonOf(wallet.broker.mintOidcJwt({}))).toBe("SESSION_REVOKED");
  });

  test("renewing ends 30 days after the sign-in", async () => {
    const ada = await signIn(broker, "ada@example.com");
    let token = ada.token;
    for (let day = 0; day < 60; day++) {
      broker.pass(11 * HOUR + 59 * MINUTE);
      const answer = await as(token, ada.key)
        .login.renewSession({})
        .catch((error: unknown) => error as Error);
      if (answer instanceof Error) break;
      token = answer.sessionJwt;
    }
    const { exp = 0 } = decodeJwt(token);
    const signedIn = decodeJwt(ada.token).iat ?? 0;
    expect(exp - signedIn).toBeLessThanOrEqual(30 * 86400);
    expect(exp - signedIn).toBeGreaterThan(29 * 86400);
  });

  test("a bearer session is not renewed", async () => {
    const bob = await signIn(broker, "bob@example.com", { bound: false });
    expect(await reasonOf(bob.clients.login.renewSession({}))).toBe("DPOP_REQUIRED");
  });

  test("several renewals at once give one successor", async () => {
    const ada = await signIn(broker, "ada@example.com");
    const answers = await Promise.all([1, 2, 3].map(() => ada.clients.login.renewSession({})));
    expect(new Set(answers.map(({ sessionJwt }) => decodeJwt(sessionJwt).jti)).size).toBe(1);
    const { sessions } = await as(answers[2]!.sessionJwt, ada.key).account.listSessions({});
    expect(sessions).toHaveLength(1);
  });
});

describe("a session that was renewed since it was listed", () => {
  test("is ended under the id that it had, with all that came from it", async () => {
    const [ada, phone] = [await signIn(broker, "ada@example.com"), await signIn(broker, "ada@example.com")];
    const { clients: wallet } = await walletSession(broker, ada);
    const listed = decodeJwt(ada.token).jti ?? "";
    // Whoever has the machine's key may renew as often as they like.
    const once = await ada.clients.login.renewSession({});
    const { sessionJwt } = await as(once.sessionJwt, ada.key).login.renewSession({});
    const { sessionIds } = await phone.clients.account.revokeSession({ sessionId: listed });
    expect(sessionIds).toContain(decodeJwt(sessionJwt).jti);
    expect(await reasonOf(as(sessionJwt, ada.key).account.whoAmI({}))).toBe("SESSION_REVOKED");
    expect(await reasonOf(as(sessionJwt, ada.key).login.renewSession({}))).toBe("SESSION_REVOKED");
    expect(await reasonOf(wallet.broker.mintOidcJwt({}))).toBe("SESSION_REVOKED");
    expect(await reasonOf(phone.clients.account.revokeSession({ sessionId: listed }))).toBe("SESSION_NOT_FOUND");
  });

  test("of somebody else's account is nobody's to end", async () => {
    const [ada, bob] = [await signIn(broker, "ada@example.com"), await signIn(broker, "bob@example.com")];
    const { sessionJwt } = await ada.clients.login.renewSession({});
    const sessionId = decodeJwt(ada.token).jti ?? "";
    expect(await reasonOf(bob.clients.account.revokeSession({ sessionId }))).toBe("SESSION_NOT_FOUND");
    await as(sessionJwt, ada.key).account.whoAmI({});
  });
});

describe("a renewal whose answer was lost", () => {
  test("is answered again to the same key for two minutes, with the same session", async () => {
    const ada = await signIn(broker, "ada@example.com");
    const lost = await ada.clients.login.renewSession({});
    broker.pass(2 * MINUTE - 1000);
    const again = await ada.clients.login.renewSession({});
    expect(decodeJwt(again.sessionJwt)).toEqual(decodeJwt(lost.sessionJwt));
    // The old token asks for the answer, and for nothing else.
    expect(await reasonOf(ada.clients.account.whoAmI({}))).toBe("SESSION_REVOKED");
    expect((await as(again.sessionJwt, ada.key).account.whoAmI({})).omniAccount).toBe(ada.omniAccount);
  });

  test("is not answered again later than that", async () => {
    const ada = await signIn(broker, "ada@example.com");
    await ada.clients.login.renewSession({});
    broker.pass(2 * MINUTE + 1000);
    expect(await reasonOf(ada.clients.login.renewSession({}))).toBe("SESSION_REVOKED");
  });

  test("is not answered again once the new session was used, and its owner reads in the history that somebody asked", async () => {
    const ada = await signIn(broker, "ada@example.com");
    const { sessionJwt } = await ada.clients.login.renewSession({});
    const next = as(sessionJwt, ada.key);
    await next.account.whoAmI({});
    expect(await reasonOf(ada.clients.login.renewSession({}))).toBe("SESSION_REVOKED");
    const { events } = await next.account.listEvents({ pageSize: 1 });
    expect(events).toMatchObject([{ action: "session.renewed", outcome: "SESSION_REVOKED" }]);
  });

  test("is worth nothing to who has the old token and not the key, nor the proof that was sent with it", async () => {
    const ada = await signIn(broker, "ada@example.com");
    const proof = await ada.key!.prove({
      method: "POST",
      url: `${broker.url}/v1/auth/renew`,
      accessToken: ada.token,
    });
    const captured = (): Promise<Response> =>
      fetch(`${broker.url}/v1/auth/renew`, {
        method: "POST",
        headers: { authorization: `DPoP ${ada.token}`, dpop: proof, "content-type": "application/json" },
        body: "{}",
      });
    expect((await captured()).status).toBe(200);
    expect(await (await captured()).text()).toContain("DPOP_REPLAYED");
    expect(await reasonOf(as(ada.token).login.renewSession({}))).toBe("DPOP_INVALID");
    expect(await reasonOf(as(ada.token, await testKey(broker.clock)).login.renewSession({}))).toBe("DPOP_INVALID");
  });

  test("is not answered again for a session that somebody ended, before it was renewed or after", async () => {
    const [ada, bob] = [await signIn(broker, "ada@example.com"), await signIn(broker, "bob@example.com")];
    const { sessionJwt } = await ada.clients.login.renewSession({});
    // From another machine, as somebody does who has lost this one.
    const phone = await signIn(broker, "ada@example.com");
    await phone.clients.account.revokeSession({ sessionId: decodeJwt(sessionJwt).jti ?? "" });
    expect(await reasonOf(ada.clients.login.renewSession({}))).toBe("SESSION_REVOKED");
    await bob.clients.account.revokeSession({});
    expect(await reasonOf(bob.clients.login.renewSession({}))).toBe("SESSION_REVOKED");
  });
});

describe("a token", () => {
  test("bound to a key is refused as a bearer token, and with a proof by another key", async () => {
    const ada = await signIn(broker, "ada@example.com");
    expect(await reasonOf(as(ada.token).account.whoAmI({}))).toBe("DPOP_INVALID");
    expect(await reasonOf(as(ada.token, await testKey(broker.clock)).account.whoAmI({}))).toBe("DPOP_INVALID");
  });

  test("without a signature, with an HMAC, or with one changed character is refused", async () => {
    const ada = await signIn(broker, "ada@example.com", { bound: false });
    const claims = decodeJwt(ada.token);
    const unsigned = new UnsecuredJWT(claims).encode();
    const hmac = await new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", typ: "at+jwt" })
      .sign(new TextEncoder().encode("agentkeys"));
    const [header = "", payload = "", signature = ""] = ada.token.split(".");
    const forged = Buffer.from(JSON.stringify({ ...claims, anchor: "0".repeat(64) })).toString("base64url");
    const tampered = [header, forged, signature].join(".");
    const cut = [header, payload, ""].join(".");
    for (const token of [unsigned, hmac, tampered, cut, "garbage", "a.b.c"]) {
      expect(await reasonOf(as(token).account.whoAmI({}))).toBe("SESSION_INVALID");
    }
  });

  test("survives a restart of the broker", async () => {
    const first = await startTestBroker({ settings: { publicUrl: "http://127.0.0.1:59999" } });
    const bob = await signIn(first, "bob@example.com", { bound: false });
    const second = await first.restart();
    try {
      const me = await second.clients(presentSession({ token: () => new Secret(bob.token) })).account.whoAmI({});
      expect(me.omniAccount).toBe(bob.omniAccount);
    } finally {
      await second.close();
    }
  });
});

describe("the owner of an account", () => {
  test("sees every session, and ends one with all that came from it", async () => {
    const laptop = await signIn(broker, "ada@example.com");
    const { clients: wallet } = await walletSession(broker, laptop);
    const phone = await signIn(broker, "ada@example.com");
    const { sessions } = await phone.clients.account.listSessions({});
    expect(sessions).toHaveLength(3);
    expect(sessions.filter(({ current }) => current)).toHaveLength(1);
    expect(sessions[0]).toMatchObject({ deviceName: "test machine", sourceAddress: "127.0.0.1", dpopBound: true });

    const { sessionIds } = await phone.clients.account.revokeSession({ sessionId: decodeJwt(laptop.token).jti ?? "" });
    expect(sessionIds).toHaveLength(2);
    expect(await reasonOf(laptop.clients.account.whoAmI({}))).toBe("SESSION_REVOKED");
    expect(await reasonOf(wallet.broker.mintOidcJwt({}))).toBe("SESSION_REVOKED");
    const revoked = await broker.clients().login.listRevokedSessions({});
    expect(revoked.sessionIds.sort()).toEqual(sessionIds.sort());
  });

  test("cannot end another's session, nor learn that it exists", async () => {
    const [ada, bob] = [await signIn(broker, "ada@example.com"), await signIn(broker, "bob@example.com")];
    for (const sessionId of [decodeJwt(bob.token).jti ?? "", "A".repeat(22)]) {
      expect(await reasonOf(ada.clients.account.revokeSession({ sessionId }))).toBe("SESSION_NOT_FOUND");
    }
    await bob.clients.account.whoAmI({});
  });

  test("reads the history of the account page by page, refusals included, and nobody else's", async () => {
    const [ada, bob] = [await signIn(broker, "ada@example.com"), await signIn(broker, "bob@example.com")];
    const { clients: wallet } = await walletSession(broker, ada);
    await wallet.broker.mintOidcJwt({});
    await reasonOf(wallet.broker.mintOidcJwt({ audience: "https://evil.example" }));
    await reasonOf(ada.clients.broker.mintOidcJwt({}));
    await reasonOf(as(ada.token).account.whoAmI({}));
    await reasonOf(ada.clients.account.revokeSession({ sessionId: "A".repeat(22) }));
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await ada.clients.account.listEvents({ pageSize: 2, pageToken });
      expect(page.events.length).toBeLessThanOrEqual(2);
      seen.push(...page.events.map(({ action, outcome }) => `${action} ${outcome}`));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual([
      "session.revoked SESSION_NOT_FOUND",
      "call.refused DPOP_INVALID",
      "call.refused SESSION_KIND",
      "oidc.minted AUDIENCE_NOT_ALLOWED",
      "oidc.minted ok",
      "wallet.verified ok",
      "challenge.started ok",
      "wallet.claimed ok",
      "login.collected ok",
      "login.confirmed ok",
    ]);
    const { events } = await bob.clients.account.listEvents({});
    expect(events.map(({ action }) => action)).toEqual(["login.collected", "login.confirmed"]);
  });
});

test("a challenge that is being signed while the session is renewed can still be answered", async () => {
  const ada = await signIn(broker, "ada@example.com");
  const wallet = testWallet();
  await ada.clients.broker.linkWallet({ address: wallet.address });
  const { requestId, siweMessage } = await ada.clients.broker.startWalletAuth({ address: wallet.address });
  const renewed = await ada.clients.login.renewSession({});
  const { broker: anyone } = broker.clients(presentSession({ key: ada.key! }));
  await anyone.verifyWallet({ requestId, signature: await wallet.sign(siweMessage) });
  const { sessions } = await as(renewed.sessionJwt, ada.key).account.listSessions({});
  expect(sessions).toHaveLength(2);
});
