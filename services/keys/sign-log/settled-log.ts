import {
  encodeBundle,
  HASH_LENGTH,
  leafHash,
  parseBundle,
  type SubtreeHashes,
  TILE_HEIGHT,
  TILE_WIDTH,
  tileHash,
  tilePath,
  tilesOf,
} from "@agentkeys/lib/tlog";

import { HashLevels } from "./hash-levels.ts";
import type { LogFiles } from "./log-files.ts";
import { SignLogError } from "./sign-log-error.ts";

/** How many tiles are kept in memory once they were read: 8 KiB each. */
const CACHED_TILES = 256;

/**
 * The entries and hashes of a log: in memory from the last full tile on, and before that in the tiles and bundles of the disk.
 * Nothing that is read from the disk is believed before it leads up to a hash in memory.
 */
export class SettledLog {
  readonly levels = new HashLevels();
  /** From the beginning of the last bundle that is not settled, or not full. */
  private recent: { start: number; entries: Uint8Array[] } = { start: 0, entries: [] };
  private readonly cache = new Map<string, Uint8Array[]>();
  /** Up to which size tiles and bundles are on the disk. */
  private settledSize = 0;

  constructor(private readonly files: LogFiles) {}

  get size(): number {
    return this.recent.start + this.recent.entries.length;
  }

  get unsettled(): number {
    return this.size - this.settledSize;
  }

  append(entries: readonly Uint8Array[], leaves: readonly Uint8Array[]): void {
    this.levels.append(leaves);
    this.recent.entries.push(...entries);
  }

  /** Writes what is not on the disk yet, and then the checkpoint, which makes it count. @returns the full bundles that it wrote. */
  async settle(checkpoint: string): Promise<{ index: number; entries: readonly Uint8Array[] }[]> {
    const { size } = this;
    const bundles: { index: number; entries: readonly Uint8Array[] }[] = [];
    const names = tilesOf(size, this.settledSize);
    for (const name of names) {
      const start = name.index * TILE_WIDTH;
      if (name.level === "entries") {
        const entries = this.recent.entries.slice(start - this.recent.start, start - this.recent.start + name.width);
        if (name.width === TILE_WIDTH) bundles.push({ index: name.index, entries });
        await this.files.write(tilePath(name), encodeBundle(entries));
      } else {
        const hashes = this.levels.slice(name.level, start, start + name.width) ?? [];
        await this.files.write(tilePath(name), Buffer.concat(hashes));
      }
    }
    await this.files.write("checkpoint", Buffer.from(checkpoint));
    this.settledSize = size;
    const start = size - (size % TILE_WIDTH);
    this.recent = { start, entries: this.recent.entries.slice(start - this.recent.start) };
    this.levels.settle(size);
    // Partial tiles have served their time once the full one is there.
    for (const name of names) if (name.width === TILE_WIDTH) await this.files.remove(`${tilePath(name)}.p`);
    return bundles;
  }

  /** Reads back the right edge of a log that was settled at `size`. @throws SignLogError DAMAGED */
  async restore(size: number): Promise<void> {
    let hashes = size;
    for (let level = 0; hashes > 0; level++) {
      const [index, width] = [Math.floor(hashes / TILE_WIDTH), hashes % TILE_WIDTH];
      const tile = width === 0 ? [] : await this.readTile(level, index, width);
      this.levels.restore(level, index * TILE_WIDTH, tile);
      if (level === 0) {
        const entries = width === 0 ? [] : await this.readBundle(index, width);
        if (!same(entries.map(leafHash), tile)) throw damaged("its newest entries are not those that were hashed");
        this.recent = { start: index * TILE_WIDTH, entries };
      }
      hashes = index;
    }
    this.settledSize = size;
  }

  /** The roots of complete subtrees, for proofs. @throws SignLogError DAMAGED */
  readonly subtree: SubtreeHashes = async (height, index) => {
    const level = Math.floor(height / TILE_HEIGHT);
    const width = 2 ** (height % TILE_HEIGHT);
    return tileHash(await this.hashes(level, index * width, (index + 1) * width));
  };

  /** An entry, checked against its leaf. @throws SignLogError DAMAGED */
  async entry(index: number): Promise<Uint8Array> {
    const entry = (await this.bundle(Math.floor(index / TILE_WIDTH)))[index % TILE_WIDTH];
    const [leaf] = await this.hashes(0, index, index + 1);
    if (entry === undefined || !same([leafHash(entry)], [leaf]))
      throw damaged(`entry ${index} is not the one that was hashed`);
    return entry;
  }

  /** The entries of a bundle, full or not: each checked against its leaf, and the leaves against the tree. @throws SignLogError DAMAGED */
  async checkedBundle(index: number): Promise<readonly Uint8Array[]> {
    const entries = await this.bundle(index);
    const start = index * TILE_WIDTH;
    const leaves = await this.hashes(0, start, start + entries.length);
    if (!same(entries.map(leafHash), leaves))
      throw damaged(`the entries from ${start} on are not those that were hashed`);
    return entries;
  }

  /** As they stand on the disk: unchecked. */
  private async bundle(index: number): Promise<readonly Uint8Array[]> {
    const start = index * TILE_WIDTH;
    if (start >= this.recent.start) {
      return this.recent.entries.slice(start - this.recent.start, start - this.recent.start + TILE_WIDTH);
    }
    return this.readBundle(index, TILE_WIDTH);
  }

  /** Hashes `[start, end)` of a level, all of one tile. */
  async hashes(level: number, start: number, end: number): Promise<Uint8Array[]> {
    const inMemory = this.levels.slice(level, start, end);
    if (inMemory !== undefined) return inMemory;
    const index = Math.floor(start / TILE_WIDTH);
    const tile = await this.fullTile(level, index);
    return tile.slice(start - index * TILE_WIDTH, end - index * TILE_WIDTH);
  }

  private async fullTile(level: number, index: number): Promise<Uint8Array[]> {
    const name = `${level}/${index}`;
    const cached = this.cache.get(name);
    if (cached !== undefined) return cached;
    const tile = await this.readTile(level, index, TILE_WIDTH);
    // Its parent is in memory, or in a tile that is checked in the same way.
    if (!same([tileHash(tile)], await this.hashes(level + 1, index, index + 1))) {
      throw damaged(`the tile ${name} is not part of the signed tree`);
    }
    const [oldest] = this.cache.keys();
    if (oldest !== undefined && this.cache.size >= CACHED_TILES) this.cache.delete(oldest);
    this.cache.set(name, tile);
    return tile;
  }

  private async readTile(level: number, index: number, width: number): Promise<Uint8Array[]> {
    const path = tilePath({ level, index, width });
    const bytes = await this.files.read(path);
    if (bytes?.length !== width * HASH_LENGTH) throw damaged(`${path} is missing or has another length`);
    return Array.from({ length: width }, (_, i) => bytes.subarray(i * HASH_LENGTH, (i + 1) * HASH_LENGTH));
  }

  private async readBundle(index: number, width: number): Promise<Uint8Array[]> {
    const path = tilePath({ level: "entries", index, width });
    const bytes = (await this.files.read(path)) ?? new Uint8Array(0);
    try {
      return parseBundle(bytes, width);
    } catch (error) {
      throw damaged(`${path} is missing or is no bundle of ${width} entries`, error);
    }
  }
}

function same(some: readonly Uint8Array[], others: readonly (Uint8Array | undefined)[]): boolean {
  return (
    some.length === others.length && some.every((one, i) => Buffer.compare(one, others[i] ?? Buffer.alloc(0)) === 0)
  );
}

function damaged(what: string, cause?: unknown): SignLogError {
  return new SignLogError("DAMAGED", `the sign log is damaged: ${what}`, { cause });
}
