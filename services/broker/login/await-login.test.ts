import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { openTestLogins, type TestLogins } from "../testing/login-parts.ts";
import { awaitLogin, type Bell, type Login, parseDeviceName } from "./index.ts";
import { hashOf } from "./secrets.ts";

const NOW = Date.UTC(2030, 0, 1);
const login: Login = {
  loginId: "login-1",
  method: "email",
  purpose: "sign-in",
  identity: { type: "email", value: "ada@example.com" },
  secretHash: hashOf("secret"),
  confirmHash: hashOf("link"),
  userCode: "BCDF-GHJK",
  deviceName: parseDeviceName("laptop"),
  sourceAddress: "192.0.2.1",
  userAgent: "",
  status: "pending",
  createdAt: NOW,
  expiresAt: NOW + 900_000,
};

/** Time passes only by waiting: each wait takes as long as it was asked to, and then `whileWaiting` happens. */
let now: number;
let waits: number[];
let whileWaiting: (wait: number) => Promise<unknown>;
let bellClosed: boolean;
let hangUp: AbortController;
let logins: TestLogins;
beforeEach(async () => {
  now = NOW;
  waits = [];
  whileWaiting = () => Promise.resolve();
  bellClosed = false;
  hangUp = new AbortController();
  const bell: Bell = {
    ring: () => undefined,
    get closed() {
      return bellClosed;
    },
    close: () => undefined,
    wait: async (_, ms, signal) => {
      if (bellClosed || signal.aborted) return false;
      now += ms;
      await whileWaiting(waits.push(ms));
      return !signal.aborted;
    },
  };
  logins = await openTestLogins({ clock: () => now, bell });
  await logins.store.logins.insert(login);
});
afterEach(() => logins.close());

const wait = (patienceMs = 25_000) =>
  awaitLogin(logins.parts, {
    loginId: login.loginId,
    loginSecret: "secret",
    dpopThumbprint: undefined,
    caller: { sourceAddress: "192.0.2.1", requestId: "r", userAgent: "" },
    patienceMs,
    signal: hangUp.signal,
  });
const failureOf = async (call: Promise<unknown>): Promise<Failure> => {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof Failure)) throw new Error(`no Failure but ${String(error)}`);
  return error;
};
const confirmElsewhere = () => logins.store.logins.advance(login.loginId, "pending", "confirmed", now);

describe("waiting for a decision", () => {
  test("looks into the store every second, and gives up when its time is over, saying when to ask again", async () => {
    const failure = await failureOf(wait(3500));
    expect(failure.reason).toBe(ErrorReason.LOGIN_PENDING);
    expect(failure.details.retryAfterMs).toBe(1000);
    expect(waits).toEqual([1000, 1000, 1000, 500]);
  });

  test("sees within a second that another replica took the confirmation", async () => {
    whileWaiting = (nth) => (nth === 3 ? confirmElsewhere() : Promise.resolve());
    expect((await wait()).identity.value).toBe("ada@example.com");
    expect(waits).toHaveLength(3);
  });

  test("is over at once when there is no time at all, or the broker stops", async () => {
    expect((await failureOf(wait(-1000))).reason).toBe(ErrorReason.LOGIN_PENDING);
    bellClosed = true;
    expect((await failureOf(wait())).reason).toBe(ErrorReason.LOGIN_PENDING);
    expect(waits).toEqual([]);
  });

  test("ends when the sign-in expires", async () => {
    now = login.expiresAt - 1500;
    expect((await failureOf(wait())).reason).toBe(ErrorReason.LOGIN_EXPIRED);
    expect(waits).toHaveLength(2);
  });
});

describe("a caller that has hung up", () => {
  test("is waited for no longer", async () => {
    whileWaiting = () => {
      hangUp.abort();
      return Promise.resolve();
    };
    expect((await failureOf(wait())).reason).toBe(ErrorReason.LOGIN_PENDING);
    expect(waits).toHaveLength(1);
  });

  test("is not given the session that is handed out once; the program gets it when it asks again", async () => {
    whileWaiting = async () => {
      await confirmElsewhere();
      hangUp.abort();
    };
    expect((await failureOf(wait())).reason).toBe(ErrorReason.LOGIN_PENDING);
    hangUp = new AbortController();
    expect((await wait()).identity.value).toBe("ada@example.com");
  });

  test("is not given it either when it hung up before anyone looked", async () => {
    await confirmElsewhere();
    hangUp.abort();
    expect((await failureOf(wait())).reason).toBe(ErrorReason.LOGIN_PENDING);
    expect((await logins.store.logins.find(login.loginId))?.status).toBe("confirmed");
  });
});
