import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { DAY, HOUR, MINUTE } from "@agentkeys/lib/clock";

import { mailedToken, postForm, signIn, startTestBroker, type TestBroker, walletSession } from "./testing/broker.ts";

let broker: TestBroker;
beforeEach(async () => {
  broker = await startTestBroker();
});
afterEach(() => broker.close());

describe("what has expired", () => {
  const count = (table: string): unknown => broker.rows(`SELECT count(*) FROM ${table}`)[0];

  test("is forgotten an hour later, a session a day later; the account, its links and its history stay", async () => {
    const ada = await signIn(broker, "ada@example.com");
    await walletSession(broker, ada);
    const history = count("audit_event");
    const kept = (): unknown[] => ["login", "challenge", "session"].map(count);

    const after = async (ms: number): Promise<unknown[]> => {
      broker.pass(ms);
      await broker.tidy();
      return kept();
    };
    // The challenge lives 5 minutes, the sign-in 15, the wallet session an hour, the identity session twelve.
    expect(await after(HOUR + 4 * MINUTE)).toEqual([1, 1, 2]);
    expect(await after(2 * MINUTE)).toEqual([1, 0, 2]);
    expect(await after(10 * MINUTE)).toEqual([0, 0, 2]);
    expect(await after(24 * HOUR)).toEqual([0, 0, 1]);
    expect(await after(12 * HOUR)).toEqual([0, 0, 0]);
    expect([count("account"), count("wallet_link"), count("audit_event")]).toEqual([1, 1, history]);
  });

  test("is told apart from what never was, for an hour", async () => {
    await broker.clients().login.startEmailLogin({ email: "late@example.com" });
    const token = mailedToken(broker, "late@example.com");
    broker.pass(HOUR);
    await broker.tidy();
    expect((await postForm(broker, "confirm", token)).status).toBe(410);
    broker.pass(HOUR);
    await broker.tidy();
    expect((await postForm(broker, "confirm", token)).status).toBe(404);
  });
});

describe("the history", () => {
  const events = (): unknown[] => broker.rows("SELECT action FROM audit_event ORDER BY event_id");

  test("of an account is kept for as long as the setting says, what belongs to nobody for 30 days", async () => {
    await signIn(broker, "ada@example.com");
    expect(events()).toEqual(["login.started", "login.confirmed", "login.collected"]);
    broker.pass(30 * DAY + MINUTE);
    await broker.tidy();
    expect(events()).toEqual(["login.confirmed", "login.collected"]);
    broker.pass(370 * DAY - 2 * MINUTE);
    await broker.tidy();
    expect(events()).toHaveLength(2);
    broker.pass(2 * MINUTE);
    await broker.tidy();
    expect(events()).toEqual([]);
  });

  test("that is long is forgotten in steps, the oldest first", async () => {
    broker.sql(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10100)
      INSERT INTO audit_event (occurred_at, anchor, action, outcome, session_id, source_address, request_id, subject)
      SELECT i, 'a', 'oidc.minted', 'ok', '', '', '', '' FROM n`);
    await broker.tidy();
    expect(broker.rows("SELECT min(occurred_at) FROM audit_event")).toEqual([10_001]);
    await broker.tidy();
    expect(events()).toEqual([]);
  });
});

describe("the OIDC keys", () => {
  const published = async (): Promise<string[]> => {
    const response = await fetch(`${broker.url}/.well-known/jwks.json`);
    const { keys } = (await response.json()) as { keys: { kid: string }[] };
    return keys.map(({ kid }) => kid);
  };

  test("change every 90 days: published two days ahead, first in the set while they sign, gone when no token is left", async () => {
    const [first] = await published();
    broker.pass(88 * DAY - MINUTE);
    await broker.tidy();
    expect(await published()).toEqual([first]);
    broker.pass(2 * MINUTE);
    await broker.tidy();
    const [stillFirst, second] = await published();
    expect(stillFirst).toBe(first);
    expect(second).toBeDefined();

    broker.pass(2 * DAY - 4 * MINUTE);
    const { clients } = await walletSession(broker, await signIn(broker, "ada@example.com"));
    const before = (await clients.broker.mintOidcJwt({})).jwt;
    broker.pass(4 * MINUTE);
    const after = (await clients.broker.mintOidcJwt({})).jwt;
    expect([before, after].map((jwt) => decodeProtectedHeader(jwt).kid)).toEqual([first, second]);
    await broker.tidy();
    expect(await published()).toEqual([second, first]);
    const keys = createRemoteJWKSet(new URL(`${broker.url}/.well-known/jwks.json`));
    for (const jwt of [before, after]) await jwtVerify(jwt, keys, { currentDate: new Date(broker.clock()) });

    broker.pass(15 * MINUTE);
    await broker.tidy();
    expect(await published()).toEqual([second]);
  });
});
