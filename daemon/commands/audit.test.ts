import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { signCheckpoint } from "@agentkeys/lib/tlog";

import {
  type AttestedService,
  createTestHardware,
  LOG_SIGNER,
  policyFor,
  startAttestedService,
} from "../testing/attested-service.ts";
import { createFakeMachine, type FakeMachine } from "../testing/fake-machine.ts";
import { ACCOUNT } from "../testing/fake-services.ts";
import { createMemoryLog, type MemoryLog } from "../testing/memory-log.ts";

let machine: FakeMachine;
let service: AttestedService;
/** What a key service that lies says instead of its log. */
let shown: MemoryLog;
beforeEach(async () => {
  machine = await createFakeMachine();
  const clock = (): number => machine.now;
  const hardware = createTestHardware(machine.now);
  service = await startAttestedService({
    ...{ clock, hardware },
    signLog: {
      listEntries: async ({ omniAccount, pageSize, pageToken }) => {
        const { length } = shown.entries;
        const own = [...shown.entries.entries()]
          .filter(([index, entry]) => String(entry).includes(omniAccount) && index < Number(pageToken || length))
          .reverse()
          .slice(0, pageSize);
        const last = own.at(-1)?.[0] ?? 0;
        return {
          checkpoint: signCheckpoint({ size: length, root: await shown.root() }, LOG_SIGNER),
          entries: await Promise.all(
            own.map(async ([index, entry]) => ({
              index: BigInt(index),
              entry,
              inclusionProof: await shown.inclusionProof(index, length),
            })),
          ),
          nextPageToken: own.length < pageSize || last === 0 ? "" : String(last),
        };
      },
    },
  });
  const policyFile = join(machine.base, "policy.json");
  writeFileSync(policyFile, policyFor(hardware), { mode: 0o600 });
  Object.assign(machine.env, { AGENTKEYS_ATTESTATION_POLICY: policyFile, AGENTKEYS_KEYS_URL: service.url });
  await machine.init();
  service.log.entries = [entry(0), entry(1, "9".repeat(64)), entry(2), entry(3, ACCOUNT, "MESSAGE_NOT_ALLOWED")];
  shown = service.log;
});
afterEach(async () => {
  await service.close();
  await machine.remove();
});

function entry(seq: number, account = ACCOUNT, outcome = "signed"): Uint8Array {
  const fields = {
    caller: "session",
    key_version: 1,
    message_sha256: "5a".repeat(32),
    omni_account: account,
    op: "sign",
  };
  return Buffer.from(
    JSON.stringify({ ...fields, outcome, request_id: "r", salt: "s", seq, t: Date.UTC(2030, 0, 1), v: 1 }),
  );
}

/** The log when it had that many entries. */
function asItWas(size: number): MemoryLog {
  const whole = service.log;
  return { ...whole, entries: whole.entries.slice(0, size), root: () => whole.root(size) };
}

const audit = (...argv: string[]) => machine.agentkeys("audit", "signatures", ...argv);

test("shows the account's own signatures, the newest first, each proven", async () => {
  const outcome = await audit("--json");
  expect(outcome).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(outcome.stdout)).toMatchObject({
    verified: true,
    log: { size: 4 },
    entries: [
      { index: 3, outcome: "MESSAGE_NOT_ALLOWED" },
      { index: 2, outcome: "signed", time: "2030-01-01T00:00:00.000Z" },
      { index: 0 },
    ],
  });
  expect((await audit()).stdout).toMatch(/^Of this account: 3. Each stands in the log, which has 4 in all/m);
});

test("goes through as many pages as it is asked for", async () => {
  service.log.entries = Array.from({ length: 450 }, (_, index) => entry(index));
  const { entries } = JSON.parse((await audit("--json", "--limit", "430")).stdout) as { entries: { index: number }[] };
  expect(entries).toHaveLength(430);
  expect(entries.at(-1)?.index).toBe(20);
  expect((await audit("--limit", "0")).code).toBe(2);
});

test("asks once more where another process of this machine saw a longer log meanwhile", async () => {
  const [earlier, now] = [asItWas(2), service.log];
  let asked = 0;
  const current = (): MemoryLog => (asked === 0 ? earlier : now);
  shown = {
    ...now,
    get entries() {
      return current().entries;
    },
    root: async () => {
      const root = await current().root();
      asked++;
      return root;
    },
  };
  expect(JSON.parse((await audit("--json")).stdout)).toMatchObject({ log: { size: 4 } });
});

describe("is not deceived by", () => {
  const refused = async (reason: string): Promise<void> => {
    const outcome = await audit("--json");
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain(reason);
    expect(outcome.stdout).toBe("");
  };

  test("another log than the one that was attested", async () => {
    shown = createMemoryLog();
    shown.entries = [entry(0), entry(1), entry(2), entry(3)];
    await refused("SIGN_LOG_FORKED");
  });

  test("a log from which the last entries were cut", async () => {
    await audit();
    shown = createMemoryLog();
    shown.entries = [entry(0), entry(1)];
    await refused("SIGN_LOG_ROLLED_BACK");
  });

  test("a log as it was before the last entries, with a good signature", async () => {
    shown = asItWas(2);
    await refused("SIGN_LOG_ROLLED_BACK");
  });

  test("an entry that is no record", async () => {
    service.log.entries = [Buffer.from(`["${ACCOUNT}"]`)];
    await refused("SIGN_LOG_UNPROVEN");
    service.log.entries = [Buffer.from(`"${ACCOUNT}"`)];
    await refused("SIGN_LOG_");
  });

  test("entries that are not in the log", async () => {
    const honest = service.log;
    shown = { ...honest, entries: [entry(0), entry(1, "9".repeat(64)), entry(2, ACCOUNT, "RATE_LIMITED"), entry(3)] };
    await refused("SIGN_LOG_UNPROVEN");
  });

  test("a checkpoint by another key", async () => {
    const honest = service.log;
    const wrong = await honest.root(3);
    shown = { ...honest, root: () => Promise.resolve(wrong) };
    await refused("SIGN_LOG_");
  });
});

test("needs a policy, which names the log's key", async () => {
  Reflect.deleteProperty(machine.env, "AGENTKEYS_ATTESTATION_POLICY");
  const outcome = await audit();
  expect(outcome.code).toBe(78);
  expect(outcome.stderr).toContain("AGENTKEYS_ATTESTATION_POLICY is not set");
});
