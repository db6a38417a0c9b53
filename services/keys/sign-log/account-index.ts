import { createHash } from "node:crypto";

import type { OmniAccount } from "@agentkeys/lib/account";
import type { RandomBytes } from "@agentkeys/lib/random";
import { TILE_WIDTH } from "@agentkeys/lib/tlog";

import { accountOf } from "./entry.ts";

/** 16.7 million entries, in 64 MiB. */
const MAX_BUNDLES = 65_536;

/**
 * Which entries of a log may be an account's: four bytes in memory for each, so that of a long log only those bundles are read that have some.
 *
 * It knows a bundle whole or not at all, and only from entries that were checked against the tree: what it leaves out of a bundle that it
 * knows is not there, and a bundle that it does not know has to be read. What it names is read and looked at anyhow. Names are hashed with
 * a key of this process: nobody can write entries that are taken for another account's.
 */
export class AccountIndex {
  private readonly key: Uint8Array;
  private readonly bundles = new Map<number, Uint32Array>();
  private lowest = Infinity;

  constructor(
    random: RandomBytes,
    /** Of more than so many bundles the newest are known. */
    private readonly maxBundles = MAX_BUNDLES,
  ) {
    this.key = random(16);
  }

  has(bundle: number): boolean {
    return this.bundles.has(bundle);
  }

  /** Takes in a full bundle, all of whose entries were checked. */
  add(bundle: number, entries: readonly Uint8Array[]): void {
    if (entries.length !== TILE_WIDTH || this.has(bundle)) return;
    if (this.bundles.size >= this.maxBundles) {
      if (bundle < this.lowest) return;
      this.bundles.delete(this.lowest);
      while (!this.bundles.has(this.lowest) && this.lowest < bundle) this.lowest++;
    }
    this.bundles.set(
      bundle,
      Uint32Array.from(entries, (entry) => this.tag(accountOf(entry))),
    );
    this.lowest = Math.min(this.lowest, bundle);
  }

  /** Whether a bundle that is known may have an entry of the account's before the place `end` in it. */
  mayHave(bundle: number, tag: number, end: number): boolean {
    const at = this.bundles.get(bundle)?.indexOf(tag) ?? 0;
    return at !== -1 && at < end;
  }

  /** What stands for an account; 0 for entries that are nobody's. */
  tag(account: OmniAccount | undefined): number {
    if (account === undefined) return 0;
    return createHash("sha256").update(this.key).update(account).digest().readUInt32LE() || 1;
  }
}
