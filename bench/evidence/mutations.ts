import { AttestationError } from "@agentkeys/lib/evidence";
import { mulberry, mutate } from "@agentkeys/lib/evidence/testing/mutation";

import type { Case } from "./cases.ts";
import { cpuMs } from "./cpu-time.ts";

export interface Mutations {
  tried: number;
  refused: number;
  /** Of the refused, how many by each code. */
  codes: Readonly<Record<string, number>>;
  /** Accepted although it differs from what was genuine. */
  accepted: readonly Buffer[];
  unclean: readonly string[];
  /** Of the processor's time. */
  worstMs: number;
  totalMs: number;
}

/** Spoils genuine evidence in `count` ways, repeatable by `seed`. */
export function mutateMany({ bytes, verify }: Case, count: number, seed: number): Mutations {
  const below = mulberry(seed);
  const codes: Record<string, number> = {};
  const accepted: Buffer[] = [];
  const unclean: string[] = [];
  let [refused, worstMs] = [0, 0];
  const begun = cpuMs();
  for (let n = 0; n < count; n++) {
    const spoilt = mutate(bytes, below);
    const start = cpuMs();
    try {
      verify(spoilt);
      if (!spoilt.equals(bytes)) accepted.push(spoilt);
    } catch (error) {
      refused++;
      if (error instanceof AttestationError) codes[error.code] = (codes[error.code] ?? 0) + 1;
      else unclean.push(String(error));
    }
    worstMs = Math.max(worstMs, cpuMs() - start);
  }
  return { tried: count, refused, codes, accepted, unclean, worstMs, totalMs: cpuMs() - begun };
}
