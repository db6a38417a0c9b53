import { joined, type SubtreeHashes, subtreesOf } from "./frontier.ts";
import { EMPTY_ROOT } from "./hash.ts";

/** The root of the first `size` leaves. */
export async function rootOf(size: number, hashes: SubtreeHashes): Promise<Uint8Array> {
  return size === 0 ? EMPTY_ROOT : await rangeHash([0, size], hashes);
}

/** The path from leaf `index` to the root of `size` leaves (RFC 6962 section 2.1.1). Needs `index < size`. */
export function inclusionProof(index: number, size: number, hashes: SubtreeHashes): Promise<Uint8Array[]> {
  checkNumbers(index, size);
  if (index >= size) throw new RangeError("index must be less than size");
  const path: Range[] = [];
  for (let [start, end] = [0, size]; end - start > 1;) {
    const middle = start + split(end - start);
    if (index < middle) {
      path.push([middle, end]);
      end = middle;
    } else {
      path.push([start, middle]);
      start = middle;
    }
  }
  return hashesOf(path, hashes);
}

/** Proves that the tree of `to` leaves begins with that of `from` (RFC 6962 section 2.1.2). Needs `from <= to`. */
export function consistencyProof(from: number, to: number, hashes: SubtreeHashes): Promise<Uint8Array[]> {
  checkNumbers(from, to);
  if (from > to) throw new RangeError("from must be at most to");
  if (from === 0 || from === to) return Promise.resolve([]);
  const path: Range[] = [];
  let [start, end] = [0, to];
  while (from !== end) {
    const middle = start + split(end - start);
    if (from <= middle) {
      path.push([middle, end]);
      end = middle;
    } else {
      path.push([start, middle]);
      start = middle;
    }
  }
  // Who asks knows the root of the first `from` leaves; anything smaller must be told.
  if (start > 0) path.push([start, end]);
  return hashesOf(path, hashes);
}

/** Leaves from the first to before the second. */
type Range = readonly [start: number, end: number];

/** The path was walked from the root; a proof starts at the bottom. */
async function hashesOf(path: readonly Range[], hashes: SubtreeHashes): Promise<Uint8Array[]> {
  return Promise.all(path.toReversed().map((range) => rangeHash(range, hashes)));
}

async function rangeHash([start, end]: Range, hashes: SubtreeHashes): Promise<Uint8Array> {
  const subtrees = await Promise.all(subtreesOf(start, end).map(async ({ height, index }) => hashes(height, index)));
  return joined(subtrees) ?? EMPTY_ROOT;
}

/** The largest power of two below `width`, which is at least 2. */
function split(width: number): number {
  let k = 1;
  while (k * 2 < width) k *= 2;
  return k;
}

function checkNumbers(...numbers: readonly number[]): void {
  if (!numbers.every((n) => Number.isSafeInteger(n) && n >= 0)) throw new RangeError("not a count of leaves");
}
