import { AttestationError } from "@agentkeys/lib/evidence";

import type { Case } from "./cases.ts";

export interface Flips {
  tried: number;
  /** Bytes that can be changed without being noticed. */
  accepted: readonly number[];
  /** Errors that are no AttestationErrors: each is a bug. */
  unclean: readonly string[];
}

/** Changes every byte of genuine evidence, in one bit and in all, one at a time. */
export function flipEveryByte({ bytes, verify }: Case): Flips {
  const accepted: number[] = [];
  const unclean: string[] = [];
  for (let index = 0; index < bytes.length; index++) {
    for (const mask of [1 << (index % 8), 0xff]) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ mask;
      try {
        verify(changed);
        accepted.push(index);
      } catch (error) {
        if (!(error instanceof AttestationError)) unclean.push(`byte ${index}: ${String(error)}`);
      }
    }
  }
  return { tried: 2 * bytes.length, accepted, unclean };
}
