import { HASH_LENGTH, nodeHash } from "./hash.ts";
import { TlogError } from "./tlog-error.ts";

/** The height of a tile (c2sp.org/tlog-tiles): the tile's hashes are the leaves of a subtree of that height. */
export const TILE_HEIGHT = 8;
/** How many hashes a full tile has, and how many entries a full bundle. */
export const TILE_WIDTH = 256;

/** A tile or, at level "entries", a bundle of entries. */
export interface TileName {
  /** Level L holds the roots of complete subtrees of height 8 L. */
  level: number | "entries";
  index: number;
  /** How many hashes or entries it has; a partial one has less than 256, and at least 1. */
  width: number;
}

/** Where a tile stands below the log's prefix: `tile/0/x001/234.p/5`. */
export function tilePath({ level, index, width }: TileName): string {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, "0");
  const groups = digits.match(/\d{3}/g) ?? [];
  const folders = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group));
  return `tile/${level}/${folders.join("/")}${width < TILE_WIDTH ? `.p/${width}` : ""}`;
}

/**
 * The tiles and bundles that a log of `size` entries has and one of `from` entries did not have, or not that wide. The rightmost
 * of each level is partial unless its width happens to be full.
 */
export function tilesOf(size: number, from = 0): TileName[] {
  const names: TileName[] = [];
  let [hashes, before] = [size, from];
  for (let level = 0; hashes > before; level++) {
    for (let index = Math.floor(before / TILE_WIDTH); index * TILE_WIDTH < hashes; index++) {
      const width = Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH);
      if (level === 0) names.push({ level: "entries", index, width });
      names.push({ level, index, width });
    }
    [hashes, before] = [Math.floor(hashes / TILE_WIDTH), Math.floor(before / TILE_WIDTH)];
  }
  return names;
}

/** The root of the complete subtree over the hashes of a tile or of an aligned part of one: 2^n of them. */
export function tileHash(hashes: readonly Uint8Array[]): Uint8Array {
  let row = hashes;
  while (row.length > 1) {
    const next: Uint8Array[] = [];
    for (let i = 0; i + 1 < row.length; i += 2) next.push(nodeHash(row[i] as Uint8Array, row[i + 1] as Uint8Array));
    row = next;
  }
  const [root] = row;
  if (root?.length !== HASH_LENGTH) throw new RangeError("a subtree has at least one hash");
  return root;
}

/** A bundle: each entry after its length, as 16 bits, the most significant first. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  const bundle = Buffer.alloc(entries.reduce((length, entry) => length + 2 + entry.length, 0));
  let at = 0;
  for (const entry of entries) {
    at = bundle.writeUInt16BE(entry.length, at);
    bundle.set(entry, at);
    at += entry.length;
  }
  return bundle;
}

/** The entries of a bundle, which has `width` of them and nothing else. @throws TlogError MALFORMED */
export function parseBundle(bundle: Uint8Array, width: number): Uint8Array[] {
  const bytes = Buffer.from(bundle.buffer, bundle.byteOffset, bundle.byteLength);
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at + 2 <= bytes.length && entries.length < width) {
    const end = at + 2 + bytes.readUInt16BE(at);
    if (end > bytes.length) break;
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  if (at !== bytes.length || entries.length !== width) {
    throw new TlogError("MALFORMED", `this is no bundle of ${width} entries (c2sp.org/tlog-tiles)`);
  }
  return entries;
}
