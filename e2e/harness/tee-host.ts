import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

import type { TeeFlags } from "@agentkeys/keys/settings-tee.ts";
import { createLog } from "@agentkeys/lib/log";
import type { RunningServer } from "@agentkeys/lib/rpc";
import { startTestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { startRelease } from "./tee-release.ts";

/** A machine with a TPM of its own, which no other has, and a disk. */
export interface TeeHost {
  stateFolder: string;
  /** Settings of the worker; they may be changed for the next start. */
  env: Record<string, string>;
  /** What its workers logged, a line each. */
  logged: string[];
  url: string;
  /** Turns the machine on, with this code on it. On the same port each time. */
  start(flags?: Partial<TeeFlags>, release?: string): Promise<RunningServer>;
  off(): Promise<void>;
  /** Turns it off, and throws it away. */
  destroy(): Promise<void>;
}

export async function createTeeHost(options: {
  signer: string;
  broker: { url: string; publicUrl: string };
  scratch: string;
  env?: Record<string, string>;
}): Promise<TeeHost> {
  const { signer, broker, scratch } = options;
  const tpm = await startTestTpm("another");
  const folder = mkdtempSync(join(scratch, "tee-host-"));
  let worker: RunningServer | undefined;
  let port = 0;
  let isOn = false;
  const logged: string[] = [];
  const log = createLog("keys", { level: "debug", destination: { write: (line) => void logged.push(line) } });
  const host: TeeHost = {
    stateFolder: join(folder, "state"),
    env: { ...options.env },
    logged,
    url: "",
    start: async (flags = {}, release = "release 1") => {
      await host.off();
      if (isOn) await tpm.reboot();
      isOn = true;
      const { stateFolder, env } = host;
      worker = await startRelease(
        release,
        { tpm, broker, signer, stateFolder, port, env },
        { allowGenesis: false, ...flags },
        { log, backupRetryMs: 200 },
      );
      ({ port, url: host.url } = worker);
      return worker;
    },
    off: async () => {
      const running = worker;
      worker = undefined;
      await running?.close();
    },
    destroy: async () => {
      await host.off();
      await tpm.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return host;
}
