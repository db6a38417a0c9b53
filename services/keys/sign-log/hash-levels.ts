import { TILE_WIDTH, tileHash } from "@agentkeys/lib/tlog";

/**
 * The hashes of a log's tiles by level, as far as they are not in full tiles on the disk: from the beginning of the first tile
 * that is not settled to the right edge.
 */
export class HashLevels {
  private readonly levels: { start: number; hashes: Uint8Array[] }[] = [];

  /** Adds leaves, and on the levels above the hash of each tile that they fill. */
  append(leaves: readonly Uint8Array[], level = 0): void {
    for (const leaf of leaves) {
      const { start, hashes } = this.at(level);
      hashes.push(leaf);
      if ((start + hashes.length) % TILE_WIDTH === 0) this.append([tileHash(hashes.slice(-TILE_WIDTH))], level + 1);
    }
  }

  /** The hashes `[start, end)` of a level; undefined when they are on the disk. */
  slice(level: number, start: number, end: number): Uint8Array[] | undefined {
    const here = this.levels[level];
    if (here === undefined || start < here.start || end > here.start + here.hashes.length) return undefined;
    return here.hashes.slice(start - here.start, end - here.start);
  }

  /** Forgets what is in full tiles of a log of `size` entries. */
  settle(size: number): void {
    let hashes = size;
    for (const level of this.levels) {
      const start = Math.floor(hashes / TILE_WIDTH) * TILE_WIDTH;
      if (start > level.start) level.hashes.splice(0, start - level.start);
      level.start = Math.max(start, level.start);
      hashes = Math.floor(hashes / TILE_WIDTH);
    }
  }

  /** Puts in what a partial tile holds that begins at `start`, when a log is opened. */
  restore(level: number, start: number, hashes: readonly Uint8Array[]): void {
    const here = this.at(level);
    here.start = start;
    here.hashes.splice(0, Infinity, ...hashes);
  }

  private at(level: number): { start: number; hashes: Uint8Array[] } {
    return (this.levels[level] ??= { start: 0, hashes: [] });
  }
}
