import type { RandomBytes } from "@agentkeys/lib/random";

/** How long to wait between tries, in milliseconds. */
export interface Backoff {
  firstMs: number;
  /** No wait is longer. */
  maxMs: number;
}

/**
 * How long to wait after `failures` failures in a row: anything from half to all of a time that doubles with each, so that many
 * machines that failed together do not come back together.
 */
export function backoffMs({ firstMs, maxMs }: Backoff, failures: number, random: RandomBytes): number {
  const fullMs = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.round((fullMs / 2) * (1 + fraction(random)));
}

/** A number from 0 to below 1. */
function fraction(random: RandomBytes): number {
  return Buffer.from(random(4)).readUInt32BE() / 2 ** 32;
}
