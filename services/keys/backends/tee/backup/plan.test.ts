import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { signMeasurements } from "@agentkeys/lib/evidence/measurements";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";
import { createNoteSigner, formatVerifierKey } from "@agentkeys/lib/tlog";

import { claimedBackup, claimedCustody, readBackupPlan, readCustody } from "./plan.ts";
import { pemOf } from "./testing/backup-world.ts";

const recoveryKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
const fingerprint = keyFingerprint(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey);
const folder = mkdtempSync(join(tmpdir(), "agentkeys-plan-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pcr = "5a".repeat(32);
const platform = (changes: object = {}): object => ({
  type: "tpm2",
  code: { pcr11: [pcr] },
  identity: { ak_name: [`000b${"0e".repeat(32)}`] },
  ...changes,
});
const custodian = (i: number, changes: object = {}): object => ({
  url: `https://custodian-${i}.example:8443`,
  policy: {
    version: 1,
    signer: `custodian-${i}.example`,
    channel: "tls-exporter",
    max_evidence_age_s: 60,
    reattest_every_s: 900,
    clock_skew_s: 30,
    identity_keys: [`ed25519:${String(i).repeat(64)}`],
    settings: { general_messages: false, custody: ["recovery key …"] },
    log: { vkey: formatVerifierKey(createNoteSigner(`custodian-${i}.example`, Buffer.alloc(32, i)).key) },
    platforms: [platform()],
    ...changes,
  },
});
const plan = (changes: object = {}): object => ({
  version: 1,
  threshold: 2,
  recovery_key: pemOf(recoveryKey),
  custodians: [1, 2, 3].map((i) => custodian(i)),
  ...changes,
});
const owner = (changes: object = {}): object => ({
  signer: "signer-1.example",
  recovery_key: pemOf(recoveryKey),
  max_evidence_age_s: 60,
  clock_skew_s: 30,
  settings: { general_messages: false },
  platforms: [platform()],
  ...changes,
});
const fileOf = (json: object | string) => ({
  path: join(folder, "file.json"),
  text: typeof json === "string" ? json : JSON.stringify(json),
});
const readPlan = (changes: object) => readBackupPlan(fileOf(plan(changes)));
const readOwners = (changes: object) => readCustody(fileOf({ version: 1, owners: [owner(changes)] }));

describe("a backup's file", () => {
  test("names whom the master secret is split to, and the evidence says so", async () => {
    const read = await readPlan({});
    expect(read.custodians.map(({ url }) => url)).toEqual([1, 2, 3].map((i) => `https://custodian-${i}.example:8443`));
    expect(claimedBackup(read)).toEqual([
      "2 of 3",
      `recovery key ${keyFingerprint(createPublicKey(recoveryKey))}`,
      ...[1, 2, 3].map((i) => `https://custodian-${i}.example:8443 ed25519:${String(i).repeat(64)}`),
    ]);
  });

  const three = [1, 2, 3].map((i) => custodian(i));
  test.each<[string, object, string]>([
    ["another version", { version: 2 }, "version must be 1"],
    ["an unknown member", { optional: true }, "optional is not known here"],
    ["a threshold of one", { threshold: 1 }, "threshold must be a whole number from 2"],
    ["a threshold that is never met", { threshold: 4 }, "threshold must not be more than there are custodians"],
    ["one custodian", { custodians: [custodian(1)] }, "threshold must not be more"],
    ["seventeen", { custodians: Array.from({ length: 17 }, () => custodian(1)) }, "custodians must be at most 16"],
    ["the same one twice", { custodians: [...three, custodian(1)] }, "two have the same identity key"],
    [
      "one that may be either of two",
      {
        custodians: [
          custodian(1, { identity_keys: [`ed25519:${"1".repeat(64)}`, `ed25519:${"2".repeat(64)}`] }),
          custodian(3),
        ],
      },
      "custodians[0].policy.identity_keys must name one key",
    ],
    [
      "one that is not attested",
      { custodians: [...three, { url: "https://x.example" }] },
      "custodians[3].policy is missing",
    ],
    [
      "one in cleartext",
      { custodians: [{ ...custodian(1), url: "http://x.example" }, custodian(2)] },
      "custodians[0].url must be",
    ],
    [
      "one below a path",
      { custodians: [{ ...custodian(1), url: "https://x.example/a" }, custodian(2)] },
      "custodians[0].url must be",
    ],
    [
      "one whose policy leaves something out",
      { custodians: [custodian(1), custodian(2, { platforms: [platform({ identity: {} })] })] },
      "custodians[1].policy.platforms[0].identity",
    ],
    ["no recovery key", { recovery_key: undefined }, "recovery_key is missing"],
    ["a recovery key that is a file", { recovery_key: "recovery.pem" }, "recovery_key must be a public key in PEM"],
    [
      "a recovery key of another kind",
      { recovery_key: pemOf(generateKeyPairSync("ed25519").privateKey) },
      "recovery_key must be a public key on P-256",
    ],
    [
      "a private recovery key",
      { recovery_key: recoveryKey.export({ format: "pem", type: "pkcs8" }) },
      "recovery_key must be a public key in PEM",
    ],
  ])("with %s is refused", async (_, changes, words) => {
    await expect(readPlan(changes)).rejects.toThrow(words);
  });

  test("that is no JSON, or names a member twice, is refused", async () => {
    await expect(readBackupPlan(fileOf("{"))).rejects.toThrow("it is no JSON");
    await expect(readBackupPlan(fileOf('{"version":1,"version":1}'))).rejects.toThrow("version is there twice");
  });
});

describe("a custody's file", () => {
  const machine = { type: "tpm2", name: "ak_name", value: `000b${"0f".repeat(32)}` } as const;

  test("says what the owner has to prove, and the machine of a ticket", async () => {
    const [read] = await readOwners({});
    const code = [{ name: "pcr11", values: [pcr] }];
    expect(read.depositor.platforms).toEqual([
      { type: "tpm2", pins: { code, identity: { by: "ak-name", names: [`000b${"0e".repeat(32)}`] } } },
    ]);
    expect(read.recoverer(machine)?.platforms).toEqual([
      { type: "tpm2", pins: { code, identity: { by: "ak-name", names: [machine.value] } } },
    ]);
    expect(read.recoverer({ type: "sev-snp", name: "chip_id", value: "5c".repeat(64) })).toBeUndefined();
    expect(claimedCustody([read, read])).toEqual([`recovery key ${keyFingerprint(createPublicKey(recoveryKey))}`]);
  });

  test("has a ticket's machine named as its kind is named, or refuses it", async () => {
    const [read] = await readOwners({});
    expect(() => read.recoverer({ ...machine, value: "any" })).toThrow("platforms[0].identity.ak_name[0] must be");
  });

  test.each<[string, object, string]>([
    ["nobody", { platforms: [] }, "owners[0].platforms must not be empty"],
    ["whoever has no name", { signer: undefined }, "owners[0].signer is missing"],
    ["an unknown member", { any: true }, "owners[0].any is not known here"],
    ["settings left out", { settings: undefined }, "owners[0].settings is missing"],
    [
      "a machine that would have to be challenged",
      { platforms: [platform({ identity: { ek_key: [pcr] } })] },
      "owners[0].platforms[0].identity must pin the attestation key",
    ],
    ["a platform that is none", { platforms: ["any"] }, "owners[0].platforms[0] must be an object"],
  ])("with %s is refused", async (_, changes, words) => {
    await expect(readOwners(changes)).rejects.toThrow(words);
  });
});

describe("code by a build's signed measurements", () => {
  const release = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const from = { file: "measurements.jws", release_key: keyFingerprint(release.publicKey), releases: ["1.0.0"] };
  const measured = (changes: object = {}): object => platform({ code: { measurements_from: { ...from, ...changes } } });

  test("may lie on a disk that is not measured: by which key it is signed may not", async () => {
    const signed = await signMeasurements({ release: "1.0.0", pcrs: { 11: pcr }, digests: {} }, release.privateKey);
    writeFileSync(join(folder, "measurements.jws"), signed);
    const [read] = await readOwners({ platforms: [measured()] });
    expect(read.depositor.platforms[0]).toMatchObject({ pins: { code: [{ name: "pcr11", values: [pcr] }] } });
    const plan1 = await readPlan({ custodians: [custodian(1, { platforms: [measured()] }), custodian(2)] });
    expect(plan1.custodians[0].policy.platforms[0].demands[0]).toContain("as release 1.0.0 was measured");

    const byFile = measured({ release_key: "release.pem" });
    const words = "measurements_from.release_key must be the SHA-256 of the release key";
    await expect(readOwners({ platforms: [byFile] })).rejects.toThrow(`owners[0].platforms[0].code.${words}`);
    await expect(readPlan({ custodians: [custodian(1, { platforms: [byFile] }), custodian(2)] })).rejects.toThrow(
      `custodians[0].policy.platforms[0].code.${words}`,
    );
    await expect(readOwners({ platforms: [measured({ release_key: fingerprint })] })).rejects.toThrow("by that key");
  });
});
