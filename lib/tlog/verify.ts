import { EMPTY_ROOT, equalHashes, HASH_LENGTH, nodeHash } from "./hash.ts";
import { TlogError } from "./tlog-error.ts";

/** A tree as it is known from outside: how many leaves, and their root. */
export interface TreeHead {
  size: number;
  root: Uint8Array;
}

/**
 * Checks that the leaf with this hash stands at `index` in the tree of `head` (RFC 9162 section 2.1.3.2).
 * @throws TlogError MALFORMED, PROOF
 */
export function verifyInclusion(leaf: Uint8Array, index: number, head: TreeHead, proof: readonly Uint8Array[]): void {
  checkShape([index, head.size], [leaf, head.root, ...proof]);
  if (index >= head.size) throw wrong("the log has no entry of that number");
  let [fn, sn] = [index, head.size - 1];
  let root = leaf;
  for (const sibling of proof) {
    if (sn === 0) throw wrong("the inclusion proof is too long");
    if (fn % 2 === 1 || fn === sn) {
      root = nodeHash(sibling, root);
      [fn, sn] = pastLeftEdges(fn, sn);
    } else {
      root = nodeHash(root, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  if (sn !== 0) throw wrong("the inclusion proof is too short");
  if (!equalHashes(root, head.root)) throw wrong("the inclusion proof leads to another root than the checkpoint's");
}

/**
 * Checks that the tree of `to` begins with that of `from`: nothing was changed, taken away or put in (RFC 9162 section
 * 2.1.4.2). A log that is `from` nothing begins every log; equal sizes need equal roots.
 * @throws TlogError MALFORMED, PROOF
 */
export function verifyConsistency(from: TreeHead, to: TreeHead, proof: readonly Uint8Array[]): void {
  checkShape([from.size, to.size], [from.root, to.root, ...proof]);
  if (from.size > to.size) throw wrong(`the log has shrunk from ${from.size} to ${to.size} entries`);
  if (from.size === 0 && !equalHashes(from.root, EMPTY_ROOT)) throw wrong("an empty log has another root than this");
  if (from.size === to.size && !equalHashes(from.root, to.root))
    throw wrong("the log was rewritten: same size, other root");
  if (from.size === 0 || from.size === to.size) {
    if (proof.length > 0) throw wrong("the consistency proof is too long");
    return;
  }

  let [fn, sn] = [from.size - 1, to.size - 1];
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  // Where `from` is one complete subtree, its root is where the path starts, and the proof leaves it out.
  const [start, ...path] = fn === 0 ? [from.root, ...proof] : proof;
  if (start === undefined) throw wrong("the consistency proof is too short");
  let [fromRoot, toRoot] = [start, start];
  for (const sibling of path) {
    if (sn === 0) throw wrong("the consistency proof is too long");
    if (fn % 2 === 1 || fn === sn) {
      fromRoot = nodeHash(sibling, fromRoot);
      toRoot = nodeHash(sibling, toRoot);
      [fn, sn] = pastLeftEdges(fn, sn);
    } else {
      toRoot = nodeHash(toRoot, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  if (sn !== 0) throw wrong("the consistency proof is too short");
  if (!equalHashes(fromRoot, from.root))
    throw wrong("the log does not begin with the entries of the earlier checkpoint");
  if (!equalHashes(toRoot, to.root))
    throw wrong("the consistency proof leads to another root than the later checkpoint's");
}

/** Up through the levels on which the node has no right neighbour: it is carried up as it is. */
function pastLeftEdges(fn: number, sn: number): [number, number] {
  while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
  return [fn, sn];
}

/** Sizes go beyond 32 bits, so that no shift will do. */
function half(n: number): number {
  return Math.floor(n / 2);
}

function checkShape(counts: readonly number[], hashes: readonly Uint8Array[]): void {
  if (!counts.every((n) => Number.isSafeInteger(n) && n >= 0)) {
    throw new TlogError("MALFORMED", "a size or an index is no whole number below 2^53");
  }
  if (!hashes.every(({ length }) => length === HASH_LENGTH)) {
    throw new TlogError("MALFORMED", `a hash is not ${HASH_LENGTH} bytes`);
  }
}

function wrong(message: string): TlogError {
  return new TlogError("PROOF", message);
}
