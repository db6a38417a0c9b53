import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import {
  type AttestedService,
  createTestHardware,
  createTlsIdentity,
  policyFor,
  startAttestedService,
} from "../testing/attested-service.ts";
import { createFakeMachine, type FakeMachine } from "../testing/fake-machine.ts";
import { ACCOUNT } from "../testing/fake-services.ts";
import { type Relay, startRelay } from "../testing/relay.ts";

// Somebody stands before a genuine, attested key service, ends TLS, passes everything on, and writes it down.
let machine: FakeMachine;
let genuine: AttestedService;
let relay: Relay;
beforeEach(async () => {
  machine = await createFakeMachine();
  const clock = (): number => machine.now;
  const hardware = createTestHardware(machine.now);
  genuine = await startAttestedService({ clock, hardware });
  relay = await startRelay(genuine.url, createTlsIdentity(machine.now));
  const policyFile = join(machine.base, "policy.json");
  writeFileSync(policyFile, policyFor(hardware), { mode: 0o600 });
  Object.assign(machine.env, {
    AGENTKEYS_ATTESTATION_POLICY: policyFile,
    AGENTKEYS_AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/agents",
  });
});
afterEach(async () => {
  await relay.close();
  await genuine.close();
  await machine.remove();
});

/** What nobody on the way may see. */
function secretsOf(state: Record<string, unknown>): string[] {
  const { session, device_key: key } = state as { session: { token: string }; device_key: { x: string; d: string } };
  return [ACCOUNT, session.token, key.x, key.d];
}

test("the first sign-in stops before the account is named", async () => {
  machine.env["AGENTKEYS_KEYS_URL"] = relay.url;
  const outcome = await machine.init("--json");
  expect(outcome.code).toBe(1);
  expect(outcome.stderr).toContain("ATTESTATION_REPORT_DATA");
  expect(relay.seen.map(({ path }) => path)).toEqual(["/agentkeys.keys.v1.KeyService/GetAttestation"]);
  for (const secret of secretsOf(machine.stateFile())) expect(JSON.stringify(relay.seen)).not.toContain(secret);
});

test("no command of an enrolled machine tells anything to whoever relays genuine evidence", async () => {
  machine.env["AGENTKEYS_KEYS_URL"] = genuine.url;
  expect((await machine.init()).code).toBe(1); // there is no STS here: the wallet is linked all the same
  expect(machine.stateFile()["wallet_address"]).toBeDefined();
  expect(genuine.calls).toContain("SignMessage");

  machine.env["AGENTKEYS_KEYS_URL"] = relay.url;
  genuine.calls.length = 0;
  const commands = [
    ["token"],
    ["creds"],
    ["exec", "--", "true"],
    ["init", "--email", "ada@example.com"],
    ["audit", "signatures"],
    ["migrate-wallet", "--yes"],
  ];
  for (const command of commands) {
    const outcome = await machine.agentkeys(...command);
    expect(outcome.code, command.join(" ")).not.toBe(0);
    expect(outcome.stderr, command.join(" ")).toContain("not what the attestation policy demands");
  }
  expect(new Set(genuine.calls)).toEqual(new Set(["GetAttestation"]));
  const seen = JSON.stringify(relay.seen);
  expect(relay.seen.length).toBeGreaterThanOrEqual(commands.length);
  for (const secret of secretsOf(machine.stateFile())) expect(seen).not.toContain(secret);
  expect(seen).not.toMatch(/authorization|dpop/i);
});

test("the same commands work where nobody is on the way", async () => {
  machine.env["AGENTKEYS_KEYS_URL"] = genuine.url;
  await machine.init();
  expect((await machine.agentkeys("token")).code).toBe(0);
  expect(genuine.calls).toContain("SignMessage");
});

test("a policy is of no use without TLS, and says so before anything is sent", async () => {
  const outcome = await machine.init();
  expect(outcome.code).toBe(78);
  expect(outcome.stderr).toContain("must begin with https:// where AGENTKEYS_ATTESTATION_POLICY is set");
  expect(machine.services.calls).toEqual([]);
});
