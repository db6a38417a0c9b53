import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createClient } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, test } from "vitest";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { createLog } from "@agentkeys/lib/log";
import { connectTransport } from "@agentkeys/lib/rpc";

import { type RunningKeyService, startKeyService } from "./start.ts";

let folder: string;
let running: RunningKeyService | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-keys-"));
});
afterEach(async () => {
  await running?.close();
  rmSync(folder, { recursive: true, force: true });
});

const start = (o: { masterSecret?: Buffer }) => {
  const listen = { host: "127.0.0.1", port: 0 };
  const settings = { listen, metricsListen: listen, signLog: join(folder, "signatures.log"), logLevel: "silent" };
  return startKeyService({ ...settings, ...o }, { log: createLog("keys", { level: "silent" }) });
};

test("signatures are counted by their outcome, and calls as everywhere; neither names an account", async () => {
  const omniAccount = "ab".repeat(32);
  running = await start({ masterSecret: Buffer.alloc(32, 7) });
  const client = createClient(KeyService, connectTransport(running.url));
  const { address } = await client.deriveAddress({ omniAccount });
  await client.signMessage({ omniAccount, messageHex: "00" });
  await client.signMessage({ omniAccount, messageHex: "01" });
  const scrape = async (): Promise<string> => (await fetch(running?.metricsUrl ?? "")).text();
  expect(await scrape()).toContain('agentkeys_signatures_total{outcome="signed"} 2\n');
  await expect
    .poll(scrape, { timeout: 10_000 })
    .toContain('agentkeys_calls_total{method="agentkeys.keys.v1.KeyService/SignMessage",code="ok"} 2\n');
  for (const name of [omniAccount, address]) expect(await scrape()).not.toContain(name);
});

test("a signature that was refused counts as that", async () => {
  running = await start({});
  const client = createClient(KeyService, connectTransport(running.url));
  await expect(client.signMessage({ omniAccount: "ab".repeat(32), messageHex: "00" })).rejects.toThrow();
  const text = await (await fetch(running.metricsUrl ?? "")).text();
  expect(text).toContain('agentkeys_signatures_total{outcome="SIGNER_DISABLED"} 1\n');
});
