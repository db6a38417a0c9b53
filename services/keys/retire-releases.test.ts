import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { type Claims, parseClaims } from "@agentkeys/lib/evidence/claims";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";
import { createLog } from "@agentkeys/lib/log";
import { type Approval, approve, formatApprovals, readPcrs } from "@agentkeys/lib/tpm2";
import { hasSwtpm, startTestTpm, type TestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { readTeeSettings, type TeeFlags } from "./settings-tee.ts";
import { type RunningTeeWorker, startTeeWorker } from "./start-tee.ts";

describe.skipIf(!hasSwtpm("retiring releases", process.env))("an operator of a TEE worker", () => {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-retire-"));
  const [oldKey, newKey] = [
    generateKeyPairSync("ec", { namedCurve: "P-256" }),
    generateKeyPairSync("ec", { namedCurve: "P-256" }),
  ];
  const logged: string[] = [];
  const log = createLog("keys", { level: "debug", destination: { write: (line) => void logged.push(line) } });
  let tpm: TestTpm;
  let worker: RunningTeeWorker | undefined;

  beforeAll(async () => {
    tpm = await startTestTpm();
    for (const [name, { publicKey }] of [
      ["old.pem", oldKey],
      ["new.pem", newKey],
    ] as const) {
      writeFileSync(join(folder, name), publicKey.export({ format: "pem", type: "spki" }));
    }
  });
  afterEach(async () => {
    await worker?.close();
    worker = undefined;
  });
  afterAll(async () => {
    await tpm.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Of the code that runs, which is one code with whichever versions a key's holder gives it. */
  async function approved(securityVersion: number, by: KeyObject): Promise<Approval> {
    const connection = await tpm.open();
    const pcrs = await connection.use((t) => readPcrs(t, [11]));
    await connection.close();
    return approve({ release: `r${securityVersion}`, securityVersion, pcrs }, by);
  }

  async function start(
    approvals: readonly Approval[],
    flags: Partial<TeeFlags>,
    changes: Record<string, string> = {},
  ): Promise<Claims> {
    await worker?.close();
    worker = undefined;
    writeFileSync(join(folder, "approvals.json"), formatApprovals(approvals));
    const settings = readTeeSettings({
      AGENTKEYS_KEYS_LISTEN: "127.0.0.1:0",
      AGENTKEYS_KEYS_BROKER_URL: "http://127.0.0.1:1",
      AGENTKEYS_TEE_SIGNER: "signer-1.example",
      AGENTKEYS_TEE_STATE_DIR: join(folder, "state"),
      AGENTKEYS_TEE_TPM: `unix:${tpm.address.unix}`,
      AGENTKEYS_TEE_RELEASE_KEY: join(folder, "old.pem"),
      AGENTKEYS_TEE_APPROVALS: join(folder, "approvals.json"),
      NODE_ENV: "production",
      ...changes,
    });
    worker = await startTeeWorker(settings, { allowGenesis: false, ...flags }, { log });
    const client = createClient(
      KeyService,
      createConnectTransport({ baseUrl: worker.url, httpVersion: "2", nodeOptions: { rejectUnauthorized: false } }),
    );
    return parseClaims((await client.getAttestation({ nonceHex: "ab".repeat(16) })).claims);
  }

  test("retires releases for good once a later one runs, moves to another key, and callers can see both", async () => {
    const [first, second] = [await approved(1, oldKey.privateKey), await approved(2, oldKey.privateKey)];
    const begun = await start([first], { allowGenesis: true });
    expect(begun).toMatchObject({
      minSecurityVersion: 1,
      settings: { sealed_to: `release key ${keyFingerprint(oldKey.publicKey)}` },
    });

    // Not beyond the release that runs: nothing is served, and nothing was done.
    await expect(start([first], { retireReleasesBefore: 2 })).rejects.toMatchObject({ refusal: "CANNOT_RETIRE" });
    expect((await start([first], {})).minSecurityVersion).toBe(1);

    // The later one runs before it retires anything, and says so in the evidence at once.
    expect((await start([first, second], {})).minSecurityVersion).toBe(1);
    expect((await start([first, second], { retireReleasesBefore: 2 })).minSecurityVersion).toBe(2);
    expect(logged.join("")).toMatch(/"security_version":2,"least":2/);
    await expect(start([first], {})).rejects.toMatchObject({ refusal: "RETIRED" });

    const next = await approved(2, newKey.privateKey);
    const moved = await start([second, next], {}, { AGENTKEYS_TEE_NEXT_RELEASE_KEY: join(folder, "new.pem") });
    expect(logged.join("")).toContain("back the disk up now");
    expect(moved).toMatchObject({
      minSecurityVersion: 2,
      settings: { sealed_to: `release key ${keyFingerprint(newKey.publicKey)}` },
    });
    expect(moved.identityKey).toEqual(begun.identityKey);
    await expect(start([second], {})).rejects.toMatchObject({ refusal: "APPROVAL" });
    const settled = await start([next], {}, { AGENTKEYS_TEE_RELEASE_KEY: join(folder, "new.pem") });
    expect(settled.identityKey).toEqual(begun.identityKey);
  });

  test("cannot retire anything where no release key decides", async () => {
    const exact = {
      AGENTKEYS_TEE_RELEASE_KEY: "",
      AGENTKEYS_TEE_APPROVALS: "",
      AGENTKEYS_TEE_SEAL_PCRS: "11",
      AGENTKEYS_TEE_STATE_DIR: join(folder, "exact"),
    };
    const other = await startTestTpm();
    try {
      const changes = { ...exact, AGENTKEYS_TEE_TPM: `unix:${other.address.unix}` };
      const approvals = [await approved(1, oldKey.privateKey)];
      const refusal = start(approvals, { allowGenesis: true, retireReleasesBefore: 1 }, changes);
      await expect(refusal).rejects.toThrow("sealed for no release key");
      // Nor was a master secret made on the way to that refusal.
      await expect(start(approvals, {}, changes)).rejects.toMatchObject({ refusal: "GENESIS_NOT_ALLOWED" });
      expect((await start(approvals, { allowGenesis: true }, changes)).minSecurityVersion).toBeUndefined();
      await worker?.close();
      worker = undefined;
    } finally {
      await other.stop();
    }
  });
});
