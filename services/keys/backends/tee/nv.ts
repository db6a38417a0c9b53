import {
  defineCounter,
  incrementCounter,
  readCounter,
  startSession,
  storageRoot,
  type Tpm,
  TpmError,
  type TpmSequence,
  type TpmSession,
} from "@agentkeys/lib/tpm2";

import type { Counters } from "./genesis.ts";
import type { MonotonicCounter } from "./sealer.ts";

/** Where the counters are, in the range that the TCG leaves to the owner. One worker per TPM. */
export const NV_GENESIS = 0x01800a10;
export const NV_ROLLBACK = 0x01800a11;
/** Steps on when the master secret was sealed anew: what was sealed before is void then. See `tpm2-object.ts`. */
export const NV_SEAL = 0x01800a13;
/** Steps on with each security version that is retired. See `seal-policy.ts`. */
export const NV_RELEASES = 0x01800a14;

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
    increment: () => tpm.use(async (t) => stepped(t, index, await startSession(t, "hmac", await storageRoot(t)))),
  };
}

/** The value of a counter, which is made where there is none. */
export async function startedCounter(tpm: TpmSequence, index: number, session: TpmSession): Promise<bigint> {
  return (await readCounter(tpm, index, session)) ?? (await stepped(tpm, index, session));
}

/** Steps a counter on until it has this value. */
export async function advanceCounter(tpm: TpmSequence, index: number, to: bigint, session: TpmSession): Promise<void> {
  for (let value = await startedCounter(tpm, index, session); value < to; value++) {
    await incrementCounter(tpm, index, session);
  }
}

/** The value after one increment; the counter is made where there is none. */
async function stepped(tpm: TpmSequence, index: number, session: TpmSession): Promise<bigint> {
  try {
    await defineCounter(tpm, index);
  } catch (error) {
    if (!(error instanceof TpmError && error.is("nvDefined"))) throw error;
  }
  await incrementCounter(tpm, index, session);
  const value = await readCounter(tpm, index, session);
  if (value === undefined) throw new Error("the NV counter has no value right after its increment");
  return value;
}
