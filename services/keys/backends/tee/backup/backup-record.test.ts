import { generateKeyPairSync, randomBytes } from "node:crypto";

import { beforeEach, describe, expect, test } from "vitest";

import { identityKeyName } from "@agentkeys/lib/evidence/claims";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";

import { ed25519KeyFor, memoryRootKey } from "../root-key.ts";
import { memoryMachine, memorySteps } from "../testing/memory-parts.ts";
import { type WholeFiles, wholeFiles } from "../whole-files.ts";
import { createBackupRecord } from "./backup-record.ts";
import type { Backup } from "./deposit.ts";
import { rawPublicKey } from "@agentkeys/lib/evidence/ed25519";
import { backupIdOf, type Manifest, readManifest, signManifest } from "./manifest.ts";
import type { BackupPlan } from "./plan.ts";
import { checkReceipt, signReceipt } from "./receipt.ts";

const PATH = "/backup.json";
const recoveryKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey;
const keepers = [1, 2].map(() => generateKeyPairSync("ed25519").privateKey);
const nameOf = (i: number): string => identityKeyName(rawPublicKey(keepers[i]!));
const plan = {
  threshold: 2,
  recoveryKey,
  custodians: keepers.map((_, i) => ({ identityKey: nameOf(i) })),
} as unknown as BackupPlan;
const key = memoryRootKey(randomBytes(32));
const identityKey = await ed25519KeyFor(key, "identity");

const manifest: Manifest = {
  signer: "signer-1.example",
  identityKey: identityKeyName(rawPublicKey(identityKey)),
  threshold: 2,
  custodians: keepers.map((_, i) => nameOf(i)),
  shareSha256: ["5a".repeat(32), "5b".repeat(32)],
  recoveryKeySha256: keyFingerprint(recoveryKey),
  madeAt: Date.UTC(2030, 0, 1),
};
const signed = signManifest(manifest, identityKey);
const receiptBy = (i: number, index = i, backupId = backupIdOf(signed)) =>
  signReceipt({ backupId, index, custodian: nameOf(i), keptAt: manifest.madeAt }, keepers[i]!);
const backup: Backup = { manifest: signed, receipts: [receiptBy(0), receiptBy(1)] };

const machine = memoryMachine();
const files: WholeFiles = {
  ...wholeFiles(memorySteps(machine)),
  read: (path) => Promise.resolve(machine.files.get(path)),
};
const record = createBackupRecord(PATH, files);
beforeEach(() => machine.files.clear());

describe("the record of a backup", () => {
  test("holds for the plan and the root key that it was made with", async () => {
    expect(await record.has(plan, key)).toBe(false);
    await record.write(backup, key);
    expect(await record.has(plan, key)).toBe(true);
    expect(await record.has(plan, memoryRootKey(randomBytes(32)))).toBe(false);
    const [first, second] = plan.custodians;
    const others: object[] = [
      { threshold: 3 },
      { custodians: [second, first] },
      { custodians: [first, second, { identityKey: `ed25519:${"00".repeat(32)}` }] },
      { recoveryKey: generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey },
    ];
    for (const changes of others) expect(await record.has({ ...plan, ...changes }, key)).toBe(false);
  });

  test("counts for nothing once a character of it was changed, or where it was cut", async () => {
    await record.write(backup, key);
    const text = machine.files.get(PATH) ?? "";
    for (let at = 0; at < text.length - 1; at += 11) {
      const character = text[at] ?? "";
      if (!/[A-Za-z0-9]/.test(character)) continue;
      machine.files.set(PATH, text.slice(0, at) + (character === "A" ? "B" : "A") + text.slice(at + 1));
      expect(await record.has(plan, key), `at ${at}: ${text.slice(at - 20, at + 20)}`).toBe(false);
    }
    for (const cut of ["", text.slice(0, 100), "null"]) {
      machine.files.set(PATH, cut);
      expect(await record.has(plan, key)).toBe(false);
    }
  });

  test("counts for nothing without every custodian's receipt", async () => {
    await record.write({ ...backup, receipts: [receiptBy(0)] }, key);
    expect(await record.has(plan, key)).toBe(false);
  });
});

describe("a receipt", () => {
  const expected = { backupId: backupIdOf(signed), index: 0, custodian: nameOf(0) };

  test("is the custodian's, for this share of this backup", () => {
    expect(() => checkReceipt(receiptBy(0), expected)).not.toThrow();
    expect(() => checkReceipt(receiptBy(1, 0), expected)).toThrow("not signed by the custodian's identity key");
    expect(() => checkReceipt(receiptBy(0, 1), expected)).toThrow("for another share");
    expect(() => checkReceipt(receiptBy(0, 0, "00".repeat(32)), expected)).toThrow("for another share");
    expect(() => checkReceipt({ ...receiptBy(0), bytes: Buffer.from("{}") }, expected)).toThrow("not signed");
  });
});

describe("a manifest", () => {
  test("is read as it was signed", () => {
    expect(readManifest(signed)).toEqual(manifest);
  });

  test.each<[string, Partial<Manifest>]>([
    ["a threshold of one", { threshold: 1 }],
    ["a threshold of more than there are", { threshold: 3 }],
    ["the same custodian twice", { custodians: [nameOf(0), nameOf(0)] }],
    ["the same share twice", { shareSha256: ["5a".repeat(32), "5a".repeat(32)] }],
    ["fewer shares than custodians", { shareSha256: ["5a".repeat(32)] }],
    ["a custodian that is none", { custodians: [nameOf(0), "nobody"] }],
    ["a digest that is none", { shareSha256: ["5a".repeat(32), "5B".repeat(32)] }],
  ])("with %s is none, whoever signed it", (_, changes) => {
    expect(() => readManifest(signManifest({ ...manifest, ...changes }, identityKey))).toThrow("is not one that");
  });

  test("by another key, with a member more, or written otherwise is none", () => {
    expect(() => readManifest(signManifest(manifest, keepers[0]!))).toThrow("is not signed by the identity key");
    const text = Buffer.from(signed.bytes).toString();
    for (const bytes of [text.replace("{", "{ "), text.replace("{", '{"a":1,'), text.slice(0, -1), ""]) {
      expect(() => readManifest({ ...signed, bytes: Buffer.from(bytes) })).toThrow("is not one that");
    }
  });
});
