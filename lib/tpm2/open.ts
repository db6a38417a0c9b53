import { type Tpm, type TpmDependencies, tpmOver } from "./client.ts";
import { shutdown, startup } from "./commands/lifecycle.ts";
import { openTransport, type TpmAddress } from "./transport.ts";

/**
 * Connects to a TPM and starts it up, if nobody did. A software TPM may end once we are gone, so `close` shuts it down in order: one
 * that ends without counts that as a failed authorization, and after some of those it is locked. A kernel does this by itself for
 * the TPM of its machine. @throws TpmChannelError
 */
export async function openTpm(address: TpmAddress, dependencies: TpmDependencies = {}): Promise<Tpm> {
  const tpm = tpmOver(await openTransport(address), dependencies);
  try {
    await tpm.use(startup);
  } catch (error) {
    await tpm.close();
    throw error;
  }
  if ("device" in address) return tpm;
  return {
    ...tpm,
    close: async () => {
      // A TPM that is gone already needs none.
      await tpm.use(shutdown).catch(() => undefined);
      await tpm.close();
    },
  };
}
