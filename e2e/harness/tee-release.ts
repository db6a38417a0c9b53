import { createHash } from "node:crypto";

import { readTeeSettings, type TeeFlags } from "@agentkeys/keys/settings-tee.ts";
import { type RunningTeeWorker, startTeeWorker, type TeeDependencies } from "@agentkeys/keys/start-tee.ts";
import { extendPcr } from "@agentkeys/lib/tpm2";
import type { TestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

/** The PCR that the code is measured into, as a measured image would. */
const CODE_PCR = 11;

/** Has the TPM measure a release, and starts the worker that is sealed to it. `env` are further settings. */
export async function startRelease(
  release: string,
  machine: {
    tpm: TestTpm;
    broker: { url: string; publicUrl: string };
    signer: string;
    stateFolder: string;
    /** Of loopback; 0 for any. */
    port: number;
    env: Record<string, string>;
  },
  flags: TeeFlags,
  dependencies: TeeDependencies,
): Promise<RunningTeeWorker> {
  const { tpm, broker, signer, stateFolder, port, env } = machine;
  const connection = await tpm.open();
  await connection.use((t) => extendPcr(t, CODE_PCR, createHash("sha256").update(release).digest()));
  await connection.close();
  const settings = readTeeSettings({
    AGENTKEYS_KEYS_LISTEN: `127.0.0.1:${port}`,
    AGENTKEYS_KEYS_BROKER_URL: broker.url,
    AGENTKEYS_KEYS_BROKER_ISSUER: broker.publicUrl,
    AGENTKEYS_TEE_SIGNER: signer,
    AGENTKEYS_TEE_STATE_DIR: stateFolder,
    AGENTKEYS_TEE_TPM: `unix:${tpm.address.unix}`,
    AGENTKEYS_TEE_SEAL_PCRS: String(CODE_PCR),
    NODE_ENV: "production",
    ...env,
  });
  return await startTeeWorker(settings, flags, dependencies);
}
