import { getRandom, startSession, storageRoot, type Tpm } from "@agentkeys/lib/tpm2";

import type { HardwareRandom } from "./sealed-vault.ts";

/** The TPM's own generator, encrypted on its way to us. */
export function tpmRandom(tpm: Tpm): HardwareRandom {
  return (length) => tpm.use(async (t) => getRandom(t, length, await startSession(t, "hmac", await storageRoot(t))));
}
