import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { type Login, type LoginStatus, parseDeviceName } from "../login/index.ts";
import { silent } from "../testing/broker.ts";
import type { BrokerStore } from "./index.ts";
import { openSqliteStore } from "./sqlite.ts";

let folder: string;
/** Two replicas on one file. */
let store: BrokerStore;
let other: BrokerStore;
const open = new Set<BrokerStore>();
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-logins-"));
  const path = join(folder, "broker.sqlite");
  store = await openSqliteStore({ path, clientId: "agentkeys", log: silent });
  other = await openSqliteStore({ path, clientId: "agentkeys", log: silent });
  open.add(store).add(other);
});
const stop = async (): Promise<void> => {
  for (const each of [store, other]) if (open.delete(each)) await each.close();
};
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

const login: Login = {
  loginId: "login-1",
  method: "email",
  purpose: "sign-in",
  identity: { type: "email", value: "ada@example.com" },
  secretHash: "5ec4e7",
  confirmHash: "c0ff1e",
  userCode: "BCDF-GHJK",
  dpopThumbprint: "thumbprint",
  deviceName: parseDeviceName("ada's <laptop>"),
  sourceAddress: "192.0.2.1",
  userAgent: "agentkeys/1",
  status: "pending",
  createdAt: 1000,
  expiresAt: 901_000,
};

test("a sign-in is found by its id and by the hash of its link, as it was put in, by every replica", async () => {
  await store.logins.insert(login);
  expect(await other.logins.find(login.loginId)).toEqual(login);
  expect(await other.logins.findByConfirmHash(login.confirmHash)).toEqual(login);
  expect(await other.logins.find("login-2")).toBeUndefined();
  expect(await other.logins.findByConfirmHash(login.secretHash)).toBeUndefined();
});

test("one that was started without a key or a name is found so too", async () => {
  const bare: Login = { ...login, deviceName: parseDeviceName("") };
  delete bare.dpopThumbprint;
  await store.logins.insert(bare);
  expect(await store.logins.find(login.loginId)).toEqual(bare);
});

test("two sign-ins never share a link", async () => {
  await store.logins.insert(login);
  await expect(store.logins.insert({ ...login, loginId: "login-2" })).rejects.toThrow();
  expect(await store.logins.find("login-2")).toBeUndefined();
});

describe("a sign-in moves on", () => {
  const race = async (moves: readonly [LoginStatus, LoginStatus][]): Promise<boolean[]> =>
    Promise.all(
      moves.map(([from, to], i) => (i % 2 === 0 ? store : other).logins.advance(login.loginId, from, to, 2000)),
    );

  test("for one of many who confirm or refuse it at once, wherever they ask", async () => {
    await store.logins.insert(login);
    const moves = Array.from({ length: 10 }, (_, i) => ["pending", i % 3 === 0 ? "refused" : "confirmed"] as const);
    const won = await race(moves.map(([from, to]) => [from, to]));
    expect(won.filter(Boolean)).toHaveLength(1);
    const { status, decidedAt } = (await store.logins.find(login.loginId)) ?? {};
    expect({ status, decidedAt }).toEqual({ status: moves[won.indexOf(true)]?.[1], decidedAt: 2000 });
  });

  test("for one of many who collect it at once, wherever they ask", async () => {
    await store.logins.insert({ ...login, status: "confirmed" });
    const won = await race(Array.from({ length: 10 }, () => ["confirmed", "collected"]));
    expect(won.filter(Boolean)).toHaveLength(1);
  });

  test("never from where it is not, nor once it has expired, nor when there is none", async () => {
    await store.logins.insert(login);
    const advance = (...move: Parameters<typeof store.logins.advance>) => store.logins.advance(...move);
    expect(await advance(login.loginId, "confirmed", "collected", 2000)).toBe(false);
    expect(await advance(login.loginId, "pending", "confirmed", login.expiresAt)).toBe(false);
    expect(await advance("login-2", "pending", "confirmed", 2000)).toBe(false);
    expect(await store.logins.find(login.loginId)).toEqual(login);
    expect(await advance(login.loginId, "pending", "confirmed", login.expiresAt - 1)).toBe(true);
  });

  test("not at all when the transaction around it fails", async () => {
    await store.logins.insert({ ...login, status: "confirmed" });
    const failing = store.transaction(async (tx) => {
      expect(await tx.logins.advance(login.loginId, "confirmed", "collected", 2000)).toBe(true);
      throw new Error("no session could be made");
    });
    await expect(failing).rejects.toThrow("no session could be made");
    expect((await other.logins.find(login.loginId))?.status).toBe("confirmed");
  });
});

test("what expired before a time is forgotten, and leaves nothing in the file; the rest stays", async () => {
  await store.logins.insert({ ...login, deviceName: parseDeviceName("canary-name") });
  await store.logins.insert({ ...login, loginId: "login-2", confirmHash: "2", expiresAt: login.expiresAt + 1 });
  expect(await store.logins.purge(login.expiresAt)).toBe(0);
  expect(await store.logins.purge(login.expiresAt + 1)).toBe(1);
  expect(await store.logins.find(login.loginId)).toBeUndefined();
  expect(await store.logins.find("login-2")).toBeDefined();
  await stop();
  const files = readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1"));
  expect(files.join("")).toContain("login-2");
  expect(files.join("")).not.toContain("canary-name");
});
