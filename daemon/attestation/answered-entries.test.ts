import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import {
  type AttestedService,
  createTestHardware,
  policyFor,
  startAttestedService,
} from "../testing/attested-service.ts";
import { createFakeMachine, type FakeMachine } from "../testing/fake-machine.ts";
import { WALLET } from "../testing/fake-services.ts";

// A key service that says where each signature stands in its log; a host that can put its disk back.
let machine: FakeMachine;
let service: AttestedService;
beforeEach(async () => {
  machine = await createFakeMachine();
  const clock = (): number => machine.now;
  const hardware = createTestHardware(machine.now);
  service = await startAttestedService({
    ...{ clock, hardware },
    handlers: {
      signMessage: () => {
        const logIndex = BigInt(service.log.entries.push(Buffer.from(`entry ${service.log.entries.length}`)) - 1);
        return { signature: "0x" + "11".repeat(65), address: WALLET, keyVersion: 1, logIndex };
      },
    },
  });
  const policyFile = join(machine.base, "policy.json");
  writeFileSync(policyFile, policyFor(hardware), { mode: 0o600 });
  Object.assign(machine.env, { AGENTKEYS_ATTESTATION_POLICY: policyFile, AGENTKEYS_KEYS_URL: service.url });
  await machine.init();
});
afterEach(async () => {
  await service.close();
  await machine.remove();
});

test("a signature that this machine was given is in the log ever after", async () => {
  const size = service.log.entries.length;
  expect(size).toBeGreaterThan(0);
  expect((await machine.agentkeys("token")).code).toBe(0);
  expect(service.log.entries).toHaveLength(size + 1);
  expect((await machine.agentkeys("token")).code).toBe(0);
});

test("a log without the last signature is no continuation, though no head of it was shown before", async () => {
  service.log.entries.pop();
  const outcome = await machine.agentkeys("token", "--json");
  expect(outcome.code).toBe(1);
  expect(outcome.stderr).toContain("SIGN_LOG_ROLLED_BACK");
  expect(outcome.stderr).toContain("answered");
  expect((await machine.agentkeys("attest", "verify")).stdout).toMatch(/^FAIL {2}continuation/m);
});
