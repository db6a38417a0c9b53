import {
  defineCounter,
  incrementCounter,
  readCounter,
  startSession,
  storageRoot,
  type Tpm,
  TpmError,
} from "@agentkeys/lib/tpm2";

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
 * An NV counter, read and incremented in sessions that only this TPM can answer. Whoever controls the TPM's owner can delete it; made
 * anew, it starts above whatever it was before. So it never goes back, but it may become untouched: then the state file is refused
 * as rolled back, and a missing one only until a person gives --allow-genesis.
 */
export function nvCounter(tpm: Tpm, index: number): MonotonicCounter {
  return {
    read: () => tpm.use(async (t) => readCounter(t, index, await startSession(t, "hmac", await storageRoot(t)))),
    increment: () =>
      tpm.use(async (t) => {
        try {
          await defineCounter(t, index);
        } catch (error) {
          if (!(error instanceof TpmError && error.is("nvDefined"))) throw error;
        }
        const session = await startSession(t, "hmac", await storageRoot(t));
        await incrementCounter(t, index, session);
        const value = await readCounter(t, index, session);
        if (value === undefined) throw new Error("the NV counter has no value right after its increment");
        return value;
      }),
  };
}
