import { defineCounter, incrementCounter, readCounter, type Tpm, TpmError } from "@agentkeys/lib/tpm2";

import type { Counters } from "./genesis.ts";
import type { MonotonicCounter } from "./sealer.ts";

/** Where the counters are, in the range that the TCG leaves to the owner. One worker per TPM. */
export const NV_GENESIS = 0x01800a10;
export const NV_ROLLBACK = 0x01800a11;

/** The two counters of a worker in its TPM. */
export function nvCounters(tpm: Tpm): Counters {
  return { genesis: nvCounter(tpm, NV_GENESIS), rollback: nvCounter(tpm, NV_ROLLBACK) };
}

/**
 * An NV counter. Whoever controls the TPM's owner can delete it; made anew, it starts above whatever it was before. So it never goes
 * back, but it may become untouched: then the state file is refused as rolled back, and a missing one only by the person who
 * gives --allow-genesis.
 */
export function nvCounter(tpm: Tpm, index: number): MonotonicCounter {
  return {
    read: () => tpm.use((t) => readCounter(t, index)),
    increment: () =>
      tpm.use(async (t) => {
        try {
          await defineCounter(t, index);
        } catch (error) {
          if (!(error instanceof TpmError && error.is("nvDefined"))) throw error;
        }
        await incrementCounter(t, index);
        const value = await readCounter(t, index);
        if (value === undefined) throw new Error("the NV counter has no value right after its increment");
        return value;
      }),
  };
}
