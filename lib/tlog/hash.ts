import { hash } from "node:crypto";

/** The length of every hash here, in bytes: SHA-256. */
export const HASH_LENGTH = 32;

/** The root of the tree without entries (RFC 6962 section 2.1). */
export const EMPTY_ROOT: Uint8Array = hash("sha256", new Uint8Array(0), "buffer");

/** The hash of an entry: the prefix keeps it from being taken for a node. */
export function leafHash(entry: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + entry.length);
  input.set(entry, 1);
  return hash("sha256", input, "buffer");
}

/** The hash of a node with two children. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + 2 * HASH_LENGTH);
  input[0] = 1;
  input.set(left, 1);
  input.set(right, 1 + HASH_LENGTH);
  return hash("sha256", input, "buffer");
}

/** Whether two hashes are the same. They are no secrets. */
export function equalHashes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
