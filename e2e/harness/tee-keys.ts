import { mkdtempSync } from "node:fs";
import { join } from "node:path";

import type { TeeDependencies } from "@agentkeys/keys/start-tee.ts";
import type { RunningServer } from "@agentkeys/lib/rpc";
import { startTestTpm, type TestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { startRelease } from "./tee-release.ts";

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

/** What is said where it is not installed. */
export const HOW_TO_INSTALL_SWTPM = "apt-get install --no-install-recommends swtpm swtpm-tools";

export async function startTeeKeys(options: TeeKeysOptions): Promise<TeeKeys> {
  const { broker, scratch, tpm: given, env = {}, ...dependencies } = options;
  const tpm = given ?? (await startTestTpm());
  const stateFolder = join(mkdtempSync(join(scratch, "tee-")), "state");
  const start = (release: string, port: number, allowGenesis: boolean): Promise<RunningServer> => {
    const machine = { tpm, broker, signer: "signer-1.example", stateFolder, port, env };
    return startRelease(release, machine, { allowGenesis }, dependencies);
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
