import { createHmac } from "node:crypto";

import { canonicalJson } from "@agentkeys/lib/evidence/canonical-json";
import { identityKeyName } from "@agentkeys/lib/evidence/claims";
import { Json } from "@agentkeys/lib/evidence/json";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";
import { equalSecrets } from "@agentkeys/lib/secret";

import { deriveFor, ed25519KeyFor } from "../root-key.ts";
import type { RootKey } from "../sealer.ts";
import { systemFiles, type WholeFiles } from "../whole-files.ts";
import type { Backup } from "./deposit.ts";
import { rawPublicKey } from "@agentkeys/lib/evidence/ed25519";
import { backupIdOf, type SignedManifest, readManifest } from "./manifest.ts";
import type { BackupPlan } from "./plan.ts";
import { checkReceipt } from "./receipt.ts";

/** What a worker knows of its own backup, beside its state. Nothing of it is secret; it counts only with a MAC by the root key. */
export interface BackupRecord {
  /** Whether the custodians of this very plan have confirmed a backup of this very root key. */
  has(plan: BackupPlan, key: RootKey): Promise<boolean>;
  /** On return it is on the disk. */
  write(backup: Backup, key: RootKey): Promise<void>;
}

const VERSION = 1;
const MAX_BYTES = 64 * 1024;

export function createBackupRecord(path: string, files: WholeFiles = systemFiles): BackupRecord {
  return {
    has: async (plan, key) => {
      const text = await files.read(path, MAX_BYTES);
      const read = text === undefined ? undefined : parse(text);
      if (read === undefined || !equalSecrets(await macOf(read.backup, key), read.mac)) return false;
      const { manifest: signed, receipts } = read.backup;
      const manifest = readManifest(signed);
      const backupId = backupIdOf(signed);
      const isOurs =
        manifest.identityKey === identityKeyName(rawPublicKey(await ed25519KeyFor(key, "identity"))) &&
        manifest.threshold === plan.threshold &&
        manifest.recoveryKeySha256 === keyFingerprint(plan.recoveryKey) &&
        canonicalJson(manifest.custodians) === canonicalJson(plan.custodians.map((each) => each.identityKey));
      if (!isOurs || receipts.length !== manifest.custodians.length) return false;
      receipts.forEach((receipt, index) => {
        checkReceipt(receipt, { backupId, index, custodian: manifest.custodians[index] ?? "" });
      });
      return true;
    },
    write: async (backup, key) => {
      const mac = (await macOf(backup, key)).toString("hex");
      await files.replace(path, JSON.stringify({ ...fieldsOf(backup), mac }, null, 2) + "\n");
    },
  };
}

function fieldsOf({ manifest, receipts }: Backup) {
  return {
    version: VERSION,
    backup_id: backupIdOf(manifest),
    manifest: base64(manifest.bytes),
    manifest_signature: base64(manifest.signature),
    receipts: receipts.map(({ bytes, signature }) => ({ receipt: base64(bytes), signature: base64(signature) })),
  };
}

async function macOf(backup: Backup, key: RootKey): Promise<Buffer> {
  const macKey = await deriveFor(key, "backup");
  try {
    return createHmac("sha256", macKey)
      .update(canonicalJson(fieldsOf(backup)))
      .digest();
  } finally {
    macKey.fill(0);
  }
}

/** `undefined` for everything but a whole file of this version: then there is no record, and another backup is made. */
function parse(text: string): { backup: Backup; mac: Buffer } | undefined {
  try {
    const json = Json.parse(Buffer.from(text), "the record of the backup");
    json.only(["version", "backup_id", "manifest", "manifest_signature", "receipts", "mac"]);
    json.field("version").oneOf([VERSION]);
    const signed = (of: Json, bytes: string, signature: string): SignedManifest => ({
      bytes: of.field(bytes).base64(),
      signature: of.field(signature).base64(),
    });
    const manifest = signed(json, "manifest", "manifest_signature");
    if (json.field("backup_id").text() !== backupIdOf(manifest)) return undefined;
    return {
      backup: {
        manifest,
        receipts: json
          .field("receipts")
          .list()
          .map((each) => signed(each, "receipt", "signature")),
      },
      mac: json.field("mac").hex(32),
    };
  } catch {
    return undefined;
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
