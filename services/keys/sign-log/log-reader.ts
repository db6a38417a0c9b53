import type { OmniAccount } from "@agentkeys/lib/account";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { RandomBytes } from "@agentkeys/lib/random";
import { consistencyProof, inclusionProof, rootOf, TILE_WIDTH } from "@agentkeys/lib/tlog";

import { AccountIndex } from "./account-index.ts";
import { isEntryOf } from "./entry.ts";
import type { SettledLog } from "./settled-log.ts";
import { SignLogError } from "./sign-log-error.ts";
import { logUnavailable } from "./unavailable.ts";

/** How much one page of `entriesOf` may cost: 256 bundles read from the disk, or four million entries that the index rules out. */
const PAGE_COST = 16_384;
const READING_COST = 64;

export interface LogReaderOptions {
  log: SettledLog;
  /** How many entries there are that were answered. */
  size: () => number;
  /** Told of damage that reading met. */
  onDamage: (damage: SignLogError) => void;
  random: RandomBytes;
  index?: AccountIndex;
}

/** What can be asked of a log: proofs, entries, and whether all of it is what was written. */
export class LogReader {
  private readonly index: AccountIndex;

  constructor(private readonly parts: LogReaderOptions) {
    this.index = parts.index ?? new AccountIndex(parts.random);
  }

  /** Full bundles that have just left the memory for the disk. */
  settled(bundles: readonly { index: number; entries: readonly Uint8Array[] }[]): void {
    for (const { index, entries } of bundles) this.index.add(index, entries);
  }

  /** @throws Failure LOG_POSITION_UNKNOWN, SIGN_LOG_UNAVAILABLE */
  async rootOf(size: number): Promise<Uint8Array> {
    if (size > this.parts.size()) throw unknownPosition();
    return this.reading(rootOf(size, this.parts.log.subtree));
  }

  /** @throws Failure LOG_POSITION_UNKNOWN, SIGN_LOG_UNAVAILABLE */
  async inclusionProof(index: number, size: number): Promise<Uint8Array[]> {
    if (size > this.parts.size() || index >= size) throw unknownPosition();
    return this.reading(inclusionProof(index, size, this.parts.log.subtree));
  }

  /** @throws Failure LOG_POSITION_UNKNOWN, SIGN_LOG_UNAVAILABLE */
  async consistencyProof(fromSize: number, toSize: number): Promise<Uint8Array[]> {
    if (toSize > this.parts.size() || fromSize > toSize) throw unknownPosition();
    return this.reading(consistencyProof(fromSize, toSize, this.parts.log.subtree));
  }

  /**
   * See `ProvableLog`. No entry is left out: each bundle on the way was read and checked, now or when the index took it in.
   * @throws Failure SIGN_LOG_UNAVAILABLE
   */
  async entriesOf(
    account: OmniAccount,
    { before, limit }: { before: number; limit: number },
  ): Promise<{ entries: { index: number; bytes: Uint8Array }[]; next?: number }> {
    const entries: { index: number; bytes: Uint8Array }[] = [];
    const tag = this.index.tag(account);
    let cost = 0;
    for (let bundle = Math.floor((before - 1) / TILE_WIDTH); bundle >= 0; bundle--) {
      const start = bundle * TILE_WIDTH;
      const end = Math.min(before - start, TILE_WIDTH);
      if (cost >= PAGE_COST) return { entries, next: start + end };
      cost += 1;
      if (!this.index.mayHave(bundle, tag, end)) continue;
      cost += READING_COST - 1;
      const here = await this.reading(this.checkedBundle(bundle));
      for (const [i, bytes] of [...here.entries()].slice(0, end).reverse()) {
        if (!isEntryOf(bytes, account, start + i)) continue;
        entries.push({ index: start + i, bytes });
        if (entries.length === limit && start + i > 0) return { entries, next: start + i };
      }
    }
    return { entries };
  }

  /**
   * Reads every entry and hash, the newest first, since those are asked for first, until `ended`. @returns how many entries it read.
   * @throws SignLogError DAMAGED, Error where the disk cannot be read
   */
  async audit(ended: () => boolean): Promise<{ entries: number }> {
    let entries = 0;
    for (let bundle = Math.floor((this.parts.log.size - 1) / TILE_WIDTH); bundle >= 0 && !ended(); bundle--) {
      entries += (await this.checkedBundle(bundle)).length;
    }
    return { entries };
  }

  private async checkedBundle(bundle: number): Promise<readonly Uint8Array[]> {
    const entries = await this.parts.log.checkedBundle(bundle);
    this.index.add(bundle, entries);
    return entries;
  }

  /** Damage that is met while reading is the same to a caller as a disk that cannot be read. */
  private async reading<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (error instanceof SignLogError) this.parts.onDamage(error);
      throw logUnavailable(error);
    }
  }
}

function unknownPosition(): Failure {
  return new Failure(ErrorReason.LOG_POSITION_UNKNOWN, "the sign log has no such entry or size, or not yet");
}
