import { createHash } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";

import { readTeeSettings } from "@agentkeys/keys/settings-tee.ts";
import { startTeeWorker, type TeeDependencies } from "@agentkeys/keys/start-tee.ts";
import type { RunningServer } from "@agentkeys/lib/rpc";
import { extendPcr } from "@agentkeys/lib/tpm2";
import { startTestTpm, type TestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

/** A TEE worker on a software TPM, which can be turned off and on. */
export interface TeeKeys extends RunningServer {
  tpm: TestTpm;
  /** The sealed state and the sign log. */
  stateFolder: string;
  /** Turns the worker off; its TPM stays. */
  off(): Promise<void>;
  /** Turns the machine off and on again, with this code on it; the TPM and the disk are the same. On the same port. */
  reboot(release?: string): Promise<void>;
}

export interface TeeKeysOptions extends TeeDependencies {
  broker: { url: string; publicUrl: string };
  /** Where the folder of its disk is made. */
  scratch: string;
  /** Further settings. */
  env?: Record<string, string>;
  /** A TPM that is there already; it is the caller's to stop. */
  tpm?: TestTpm;
}

/** The PCR that the code is measured into, as a measured image would. */
const CODE_PCR = 11;

/** What is said where it is not installed. */
export const HOW_TO_INSTALL_SWTPM = "apt-get install --no-install-recommends swtpm swtpm-tools";

export async function startTeeKeys(options: TeeKeysOptions): Promise<TeeKeys> {
  const { broker, scratch, tpm: given, env = {}, ...dependencies } = options;
  const tpm = given ?? (await startTestTpm());
  const stateFolder = join(mkdtempSync(join(scratch, "tee-")), "state");
  const start = async (release: string, port: number, allowGenesis: boolean): Promise<RunningServer> => {
    const connection = await tpm.open();
    await connection.use((t) => extendPcr(t, CODE_PCR, createHash("sha256").update(release).digest()));
    await connection.close();
    const settings = readTeeSettings({
      AGENTKEYS_KEYS_LISTEN: `127.0.0.1:${port}`,
      AGENTKEYS_KEYS_BROKER_URL: broker.url,
      AGENTKEYS_KEYS_BROKER_ISSUER: broker.publicUrl,
      AGENTKEYS_TEE_SIGNER: "signer-1.example",
      AGENTKEYS_TEE_STATE_DIR: stateFolder,
      AGENTKEYS_TEE_TPM: `unix:${tpm.address.unix}`,
      AGENTKEYS_TEE_SEAL_PCRS: String(CODE_PCR),
      NODE_ENV: "production",
      ...env,
    });
    return await startTeeWorker(settings, { allowGenesis }, dependencies);
  };
  let worker: RunningServer | undefined = await start("release 1", 0, true);
  const { url, host, port } = worker;
  const off = async (): Promise<void> => {
    const running = worker;
    worker = undefined;
    await running?.close();
  };
  return {
    ...{ url, host, port, tpm, stateFolder, off },
    async reboot(release = "release 1") {
      await off();
      await tpm.reboot();
      worker = await start(release, port, false);
    },
    async close() {
      await off();
      if (given === undefined) await tpm.stop();
    },
  };
}
