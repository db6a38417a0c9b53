import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

import { readTeeSettings, type TeeFlags } from "@agentkeys/keys/settings-tee.ts";
import { startTeeWorker } from "@agentkeys/keys/start-tee.ts";
import { createLog } from "@agentkeys/lib/log";
import type { RunningServer } from "@agentkeys/lib/rpc";
import { extendPcr } from "@agentkeys/lib/tpm2";
import { startTestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

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

const CODE_PCR = 11;

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
      const connection = await tpm.open();
      await connection.use((t) => extendPcr(t, CODE_PCR, createHash("sha256").update(release).digest()));
      await connection.close();
      const settings = readTeeSettings({
        AGENTKEYS_KEYS_LISTEN: `127.0.0.1:${port}`,
        AGENTKEYS_KEYS_BROKER_URL: broker.url,
        AGENTKEYS_KEYS_BROKER_ISSUER: broker.publicUrl,
        AGENTKEYS_TEE_SIGNER: signer,
        AGENTKEYS_TEE_STATE_DIR: host.stateFolder,
        AGENTKEYS_TEE_TPM: `unix:${tpm.address.unix}`,
        AGENTKEYS_TEE_SEAL_PCRS: String(CODE_PCR),
        NODE_ENV: "production",
        ...host.env,
      });
      worker = await startTeeWorker(settings, { allowGenesis: false, ...flags }, { log, backupRetryMs: 200 });
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
