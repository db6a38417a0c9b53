import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { createAwsKms } from "@agentkeys/keys/backends/tee/kms/aws-kms.ts";
import { createNitroProgram } from "@agentkeys/keys/backends/tee/testing/nitro-program.ts";
import { readTeeSettings } from "@agentkeys/keys/settings-tee.ts";
import { startTeeWorker } from "@agentkeys/keys/start-tee.ts";
import { type Claims, claimsDigest, parseClaims } from "@agentkeys/lib/evidence/claims";
import { nitroVerifier } from "@agentkeys/lib/evidence/nitro";
import { createLog } from "@agentkeys/lib/log";
import { systemRandom } from "@agentkeys/lib/random";
import type { RunningServer } from "@agentkeys/lib/rpc";

import { type LocalKms, startLocalKms } from "./start.ts";

const [OURS, OTHER] = [0x40, 0x60];
const hex = (fill: number): string => Buffer.alloc(48, fill).toString("hex");
const folder = mkdtempSync(join(tmpdir(), "agentkeys-enclave-"));
const nitro = createNitroProgram(folder, OURS);
const logged: string[] = [];
const log = createLog("keys", { level: "info", destination: { write: (line) => void logged.push(line) } });
let local: LocalKms;
beforeAll(async () => {
  local = await startLocalKms({ roots: [nitro.rootSha256], clock: () => Date.now(), random: systemRandom });
  const images = { "kms:RecipientAttestation:ImageSha384": [hex(OURS)] };
  const Statement = { Effect: "Allow", Action: ["kms:GenerateDataKey", "kms:Decrypt"], Resource: "*" };
  local.setPolicy({
    Version: "2012-10-17",
    Statement: { ...Statement, Condition: { StringEqualsIgnoreCase: images } },
  });
});
afterAll(async () => {
  await local.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A worker in an enclave: no TPM, a program for documents, and a KMS that looks at them. */
const start = (allowGenesis: boolean): Promise<RunningServer> =>
  startTeeWorker(
    readTeeSettings({
      AGENTKEYS_KEYS_LISTEN: "127.0.0.1:0",
      AGENTKEYS_KEYS_BROKER_URL: "https://broker.example",
      AGENTKEYS_TEE_SIGNER: "signer-1.example",
      AGENTKEYS_TEE_STATE_DIR: join(folder, "state"),
      AGENTKEYS_TEE_TPM: "none",
      AGENTKEYS_TEE_SEALER: "aws-kms",
      AGENTKEYS_TEE_KMS_KEY: local.keyId,
      AGENTKEYS_TEE_EVIDENCE: "aws-nitro",
      AGENTKEYS_TEE_ATTEST_PROGRAM: nitro.program,
      NODE_ENV: "production",
    }),
    { allowGenesis },
    {
      log,
      hardware: {
        kms: ({ region }) => {
          const credentials = { accessKeyId: local.admin.accessKeyId, secretAccessKey: local.admin.secretAccessKey };
          return Promise.resolve(createAwsKms({ region, endpoint: local.url, maxAttempts: 1, credentials }));
        },
        withoutTpm: (length) => Promise.resolve(systemRandom(length)),
      },
    },
  );

async function attested({ url }: RunningServer): Promise<{ claims: Claims; publicKey: string | undefined }> {
  const transport = createConnectTransport({
    baseUrl: url,
    httpVersion: "2",
    nodeOptions: { rejectUnauthorized: false },
  });
  const nonce = systemRandom(32);
  const answer = await createClient(KeyService, transport).getAttestation({
    nonceHex: Buffer.from(nonce).toString("hex"),
  });
  const { identity } = nitroVerifier.verify(
    answer,
    { nonce, reportData: claimsDigest(answer.claims), at: new Date() },
    {
      source: "enclave",
      roots: [nitro.rootSha256],
      code: [{ name: "pcr0", values: [hex(OURS)] }],
      identity: [{ name: "pcr3", values: [hex(OURS + 3)] }],
      maxAgeMs: 60_000,
      clockSkewMs: 2_000,
    },
  );
  return { claims: parseClaims(answer.claims), publicKey: identity["public_key"] };
}

test("a worker in an enclave makes its master secret under KMS, is itself again after a restart, and says what it lacks", async () => {
  const first = await start(true);
  const { claims, publicKey } = await attested(first);
  await first.close();
  expect(claims.settings).toMatchObject({
    counters: "none",
    root_key: "memory",
    sealed_to: local.keyId,
    sealer: "aws-kms",
  });
  expect(claims.nvCounter).toBeUndefined();
  expect(publicKey).toMatch(/^3059/);
  expect(logged.join("")).toContain("only daemons notice a disk that was put back");

  const second = await start(false);
  const again = await attested(second);
  await second.close();
  expect(again.claims.identityKey).toEqual(claims.identityKey);
  expect(again.claims.bootId).not.toBe(claims.bootId);
  expect(again.claims.log.vkey).toBe(claims.log.vkey);
});

test("another image on the same disk gets nothing from KMS, and makes no other master secret", async () => {
  nitro.run(OTHER);
  await expect(start(true)).rejects.toMatchObject({ name: "UnsealRefused", refusal: "DEVICE" });
  nitro.run(OURS);
  await (await start(false)).close();
});
