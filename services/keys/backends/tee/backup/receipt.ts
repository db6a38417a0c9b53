import type { KeyObject } from "node:crypto";

import { canonicalJson } from "@agentkeys/lib/evidence/canonical-json";
import { Json } from "@agentkeys/lib/evidence/json";

import { BackupError } from "./backup-error.ts";
import { isSignedAs, signAs } from "@agentkeys/lib/evidence/ed25519";

/** A custodian's word that it keeps a share. */
export interface Receipt {
  backupId: string;
  index: number;
  /** The custodian's identity key: `ed25519:` and hex. */
  custodian: string;
  /** Epoch milliseconds, in whole seconds. */
  keptAt: number;
}

/** A receipt as it is kept and sent. */
export interface SignedReceipt {
  bytes: Uint8Array;
  signature: Uint8Array;
}

const PURPOSE = "agentkeys/backup-receipt/v1";

export function signReceipt(receipt: Receipt, identityKey: KeyObject): SignedReceipt {
  const bytes = encode(receipt);
  return { bytes, signature: signAs(PURPOSE, bytes, identityKey) };
}

/** @throws BackupError when it is not this custodian's receipt for this very share */
export function checkReceipt(
  { bytes, signature }: SignedReceipt,
  expected: Pick<Receipt, "backupId" | "index" | "custodian">,
): void {
  const publicKey = Buffer.from(expected.custodian.slice("ed25519:".length), "hex");
  if (!isSignedAs(PURPOSE, { message: bytes, signature, publicKey })) {
    throw new BackupError("the receipt is not signed by the custodian's identity key");
  }
  const keptAt = Json.parse(bytes, "the receipt").field("kept_at").integer() * 1000;
  if (!encode({ ...expected, keptAt }).equals(bytes)) throw new BackupError("the receipt is for another share");
}

function encode({ backupId, index, custodian, keptAt }: Receipt): Buffer {
  return Buffer.from(canonicalJson({ v: 1, backup_id: backupId, index, custodian, kept_at: keptAt / 1000 }));
}
