import { chmodSync, cpSync, rmSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { startKeyService } from "@agentkeys/keys/start.ts";
import { DAY, HOUR } from "@agentkeys/lib/clock";
import { createLog } from "@agentkeys/lib/log";

import { createMachine, type Machine } from "../harness/machine.ts";
import { plainBrowser } from "../harness/plain-browser.ts";
import { startSystem, type System } from "../harness/system.ts";

let passed = 0;
const clock = (): number => Date.now() + passed;
let system: System;
const machines: Machine[] = [];
beforeAll(async () => {
  // A month passes in seconds, and the limits count these.
  system = await startSystem({ clock, allowances: { renewals: { times: 1000, seconds: 900 } } });
});
afterAll(async () => {
  for (const machine of machines) machine.remove();
  await system.close();
});

async function enrol(email: string): Promise<Machine> {
  const machine = createMachine({ system, clock });
  machines.push(machine);
  await machine.signIn(email, plainBrowser());
  return machine;
}

test("one sign-in lasts for thirty days on a machine that is used, and then a person is asked again", async () => {
  const machine = await enrol("ada@example.com");
  const end = clock() + 30 * DAY;
  for (let use = 0; clock() < end; use++) {
    expect(await machine.agentkeys(use % 8 === 0 ? "token" : "whoami")).toMatchObject({ code: 0, stderr: "" });
    passed += 11 * HOUR;
  }
  passed += HOUR;
  const { code, stderr } = await machine.agentkeys("token");
  expect(code).toBe(4);
  expect(stderr).toContain("Run `agentkeys init`");
  expect(await machine.agentkeys("creds")).toMatchObject({ code: 78 });
});

test("a machine whose state was copied is shut out when its session is ended, and so is the copy", async () => {
  const machine = await enrol("bob@example.com");
  const thief = createMachine({ system, clock });
  machines.push(thief);
  cpSync(machine.folder, thief.folder, { recursive: true });
  // Node 24 makes the copy of a folder with the usual mode.
  chmodSync(thief.folder, 0o700);
  expect((await thief.agentkeys("token")).code).toBe(0);
  expect((await machine.agentkeys("logout")).stdout).toContain("Signed out");
  const { code, stderr } = await thief.agentkeys("token", "--json");
  expect(code).toBe(4);
  expect(JSON.parse(stderr)).toMatchObject({ error: { reason: "SESSION_REVOKED" } });
});

test("a machine that slept too long asks for a sign-in, and goes on with the same wallet after it", async () => {
  const machine = await enrol("carol@example.com");
  const before = JSON.parse((await machine.agentkeys("whoami", "--json")).stdout) as Record<string, string>;
  passed += 13 * HOUR;
  expect((await machine.agentkeys("whoami")).code).toBe(4);
  const again = await machine.signIn("carol@example.com", plainBrowser());
  expect(again.wallet).toBe(before["wallet_address"]);
});

test("a key service with another master secret stops everything before anything is linked or signed for", async () => {
  const machine = await enrol("dave@example.com");
  const other = await startKeyService(
    {
      listen: { host: "127.0.0.1", port: 0 },
      masterSecret: Buffer.alloc(32, 7),
      broker: { url: system.broker.url, issuer: system.broker.publicUrl },
      signLog: join(machine.folder, "signatures.log"),
      logLevel: "error",
    },
    { log: createLog("keys", { level: "silent" }), clock },
  );
  machine.env["AGENTKEYS_KEYS_URL"] = other.url;
  try {
    const { code, stderr } = await machine.agentkeys("token");
    expect(code).toBe(1);
    expect(stderr).toContain("but the key service now answers with 0x");
    await expect(machine.signIn("dave@example.com", plainBrowser())).rejects.toThrow("WALLET_CHANGED");
    machine.env["AGENTKEYS_KEYS_URL"] = system.keys.url;
    expect((await machine.agentkeys("token")).code).toBe(0);
  } finally {
    await other.close();
    rmSync(join(machine.folder, "signatures.log"));
  }
});
