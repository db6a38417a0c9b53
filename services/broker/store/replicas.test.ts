import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterEach, beforeEach, expect, test } from "vitest";

import { parseEvmAddress } from "@agentkeys/lib/ethereum";

import { silent } from "../testing/broker.ts";
import { openSqliteStore } from "./sqlite.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-replicas-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs three processes on one store file at once; gives what each printed. */
async function replicas(path: string, requestIds: readonly string[] = []) {
  const script = fileURLToPath(new URL("../testing/replica.ts", import.meta.url));
  const run = async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", script, path, ...requestIds]);
    return JSON.parse(stdout) as { kids: string[]; spent: string[] };
  };
  return Promise.all([run(), run(), run()]);
}

test("processes that start at once on a new file make one schema and one key of each kind between them", async () => {
  const path = join(folder, "broker.sqlite");
  const [first, ...others] = await replicas(path);
  expect(new Set(first.kids).size).toBe(2);
  for (const { kids } of others) expect(kids).toEqual(first.kids);
  const store = await openSqliteStore({ path, clientId: "agentkeys", log: silent });
  for (const purpose of ["session", "oidc"] as const) expect(await store.signingKeys.list(purpose)).toHaveLength(1);
  await store.close();
}, 30_000);

test("of processes that answer the same challenges, each challenge is spent by one", async () => {
  const path = join(folder, "broker.sqlite");
  const store = await openSqliteStore({ path, clientId: "agentkeys", log: silent });
  const address = parseEvmAddress("0x" + "ab".repeat(20));
  const requestIds = Array.from({ length: 40 }, (_, i) => `request-${i}`);
  for (const requestId of requestIds) {
    const [createdAt, expiresAt] = [Date.now(), Date.now() + 300_000];
    await store.challenges.insert({ requestId, address, message: "m", createdAt, expiresAt });
  }
  await store.close();
  const spent = (await replicas(path, requestIds)).flatMap((replica) => replica.spent);
  expect(spent.sort()).toEqual([...requestIds].sort());
}, 30_000);
