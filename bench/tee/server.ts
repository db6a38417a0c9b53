/**
 * Two key services in one process, on the same core: the development backend, and the TEE worker on a software TPM with everything that it
 * has (TLS, policy, durable log, TPM counter). `server.ts <folder> <broker's URL> <issuer>`; prints their URLs as one line of JSON.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";

import { startTeeKeys } from "@agentkeys/e2e/harness/tee-keys.ts";
import { startKeyService } from "@agentkeys/keys/start.ts";
import { createLog } from "@agentkeys/lib/log";
import { runUntilSignal } from "@agentkeys/lib/rpc";

const [, , folder = "", url = "", issuer = ""] = process.argv;
const log = createLog("keys", { level: "silent" });
const development = await startKeyService(
  {
    listen: { host: "127.0.0.1", port: 0 },
    masterSecret: randomBytes(32),
    broker: { url, issuer },
    signLog: join(folder, "signatures.log"),
    logLevel: "silent",
  },
  { log },
);
const worker = await startTeeKeys({
  broker: { url, publicUrl: issuer },
  scratch: folder,
  log,
  allowance: { times: 1e9, seconds: 60 },
});
process.stdout.write(JSON.stringify({ development: development.url, worker: worker.url }) + "\n");
const close = async (): Promise<void> => {
  await development.close();
  await worker.close();
};
runUntilSignal({ close }, log);
