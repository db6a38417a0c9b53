import { EMPTY_ROOT, nodeHash } from "./hash.ts";

/**
 * The right edge of a tree: the roots of the complete subtrees that it consists of, the largest first. It is all that is
 * needed to append leaves and to know the root. Immutable: what fails halfway leaves the one before it as it was.
 */
export class Frontier {
  static readonly empty = new Frontier(0, []);

  private constructor(
    /** The number of leaves. */
    readonly size: number,
    private readonly subtrees: readonly Uint8Array[],
  ) {}

  /** The edge of a tree of `size` leaves. */
  static async of(size: number, hashes: SubtreeHashes): Promise<Frontier> {
    const subtrees = subtreesOf(0, size).map(async ({ height, index }) => hashes(height, index));
    return new Frontier(size, await Promise.all(subtrees));
  }

  append(leafHashes: readonly Uint8Array[]): Frontier {
    const subtrees = [...this.subtrees];
    let size = this.size;
    for (const leaf of leafHashes) {
      let root = leaf;
      // Two subtrees of the same height become one, as a carry does in binary addition.
      for (let n = size; n % 2 === 1; n = (n - 1) / 2) root = nodeHash(subtrees.pop() ?? root, root);
      subtrees.push(root);
      size++;
    }
    return new Frontier(size, subtrees);
  }

  root(): Uint8Array {
    return joined(this.subtrees) ?? EMPTY_ROOT;
  }
}

/** Gives the root of the complete subtree over leaves `[index * 2^height, (index + 1) * 2^height)`. */
export type SubtreeHashes = (height: number, index: number) => Uint8Array | Promise<Uint8Array>;

/** A complete subtree: leaves `[index * 2^height, (index + 1) * 2^height)`. */
export interface Subtree {
  height: number;
  index: number;
}

/** The complete subtrees that `[start, end)` consists of; `start` is a multiple of the largest power of two in it. */
export function subtreesOf(start: number, end: number): Subtree[] {
  const found: Subtree[] = [];
  for (let at = start; at < end;) {
    let [height, width] = [0, 1];
    while (width * 2 <= end - at) [height, width] = [height + 1, width * 2];
    found.push({ height, index: at / width });
    at += width;
  }
  return found;
}

/** The root over complete subtrees, the largest first; undefined when there is none. */
export function joined(subtrees: readonly Uint8Array[]): Uint8Array | undefined {
  let root: Uint8Array | undefined;
  for (const subtree of subtrees.toReversed()) root = root === undefined ? subtree : nodeHash(subtree, root);
  return root;
}
