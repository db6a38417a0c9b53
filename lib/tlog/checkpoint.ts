import { decodeBase64 } from "./base64.ts";
import { HASH_LENGTH } from "./hash.ts";
import { type NoteSigner, openNote, parseVerifierKey, signNote, type VerifierKey } from "./note.ts";
import { TlogError } from "./tlog-error.ts";

/** What a log says of itself (c2sp.org/tlog-checkpoint). */
export interface Checkpoint {
  /** Which log. */
  origin: string;
  /** The number of its entries. */
  size: number;
  /** The root of their tree, 32 bytes. */
  root: Uint8Array;
}

/** The text of a checkpoint, to be signed as a note. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString("base64")}\n`;
}

/** A signed checkpoint; its origin is the key's name. */
export function signCheckpoint(head: Omit<Checkpoint, "origin">, signer: NoteSigner): string {
  return signNote(formatCheckpoint({ origin: signer.key.name, ...head }), signer);
}

/**
 * Reads the text of a checkpoint whose signature was checked. Extension lines are refused: this log writes none, and what they
 * would say is signed by nobody who counts.
 * @throws TlogError MALFORMED
 */
export function parseCheckpoint(text: string): Checkpoint {
  const match = /^([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/=]{44})\n$/.exec(text);
  const [, origin, size, base64] = match ?? [];
  const root = decodeBase64(base64 ?? "");
  if (origin === undefined || !Number.isSafeInteger(Number(size)) || root?.length !== HASH_LENGTH) {
    throw new TlogError("MALFORMED", "this is no checkpoint: origin, size and root hash, a line each");
  }
  return { origin, size: Number(size), root };
}

/**
 * Checks a log's checkpoint: signed by its key, and about the log that the key is named after.
 * @param vkey the log's key, or its text form.
 * @throws TlogError MALFORMED, SIGNATURE, ORIGIN
 */
export function verifyCheckpoint(note: string, vkey: string | VerifierKey): Checkpoint {
  const key = typeof vkey === "string" ? parseVerifierKey(vkey) : vkey;
  const checkpoint = parseCheckpoint(openNote(note, key));
  if (checkpoint.origin !== key.name) throw new TlogError("ORIGIN", `the checkpoint is not one of the log ${key.name}`);
  return checkpoint;
}
