import { decodeBase64 } from "./base64.ts";
import { type Checkpoint, verifyCheckpoint } from "./checkpoint.ts";
import { HASH_LENGTH, leafHash } from "./hash.ts";
import type { VerifierKey } from "./note.ts";
import { TlogError } from "./tlog-error.ts";
import { verifyInclusion } from "./verify.ts";

/** Proves offline that an entry was logged (c2sp.org/tlog-proof). */
export interface Receipt {
  /** The entry's number. */
  index: number;
  /** Its inclusion proof for the size that the checkpoint names. */
  proof: readonly Uint8Array[];
  /** A signed note. */
  checkpoint: string;
}

const FIRST_LINE = "c2sp.org/tlog-proof@v1";

export function formatReceipt({ index, proof, checkpoint }: Receipt): string {
  const hashes = proof.map((one) => Buffer.from(one).toString("base64"));
  return [FIRST_LINE, `index ${index}`, ...hashes, "", checkpoint].join("\n");
}

/**
 * Checks that the receipt is one for this entry, by the log with this key. `extra` lines are refused: nothing signs them.
 * @throws TlogError MALFORMED, SIGNATURE, ORIGIN, PROOF
 */
export function verifyReceipt(
  receipt: string,
  entry: Uint8Array,
  vkey: string | VerifierKey,
): Checkpoint & { index: number } {
  const end = receipt.indexOf("\n\n");
  const [first, indexLine = "", ...hashes] = receipt.slice(0, Math.max(end, 0)).split("\n");
  const index = /^index (0|[1-9][0-9]{0,15})$/.exec(indexLine)?.[1];
  const proof = hashes.map(decodeBase64).filter((one) => one?.length === HASH_LENGTH) as Buffer[];
  if (first !== FIRST_LINE || index === undefined || proof.length !== hashes.length) {
    throw new TlogError("MALFORMED", "this is no receipt (c2sp.org/tlog-proof)");
  }
  const checkpoint = verifyCheckpoint(receipt.slice(end + 2), vkey);
  verifyInclusion(leafHash(entry), Number(index), checkpoint, proof);
  return { ...checkpoint, index: Number(index) };
}
