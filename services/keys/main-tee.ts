/** The TEE worker as a process. Beside main.ts the only file here that reads the environment. */
import { createLog } from "@agentkeys/lib/log";
import { runUntilSignal } from "@agentkeys/lib/rpc";
import { EX_CONFIG, SettingsError } from "@agentkeys/lib/settings";

import { BootRefused } from "./backends/tee/boot-decision.ts";
import { EXIT_UNSEAL_REFUSED, UnsealRefused } from "./backends/tee/sealer.ts";
import { readTeeFlags, readTeeSettings, type TeeFlags, type TeeSettings } from "./settings-tee.ts";
import { SignLogError } from "./sign-log/index.ts";
import { startTeeWorker } from "./start-tee.ts";

let settings: TeeSettings;
let flags: TeeFlags;
try {
  settings = readTeeSettings(process.env);
  flags = readTeeFlags(process.argv.slice(2));
} catch (error) {
  misconfigured(error);
}

const log = createLog("keys", { level: settings.logLevel });
try {
  runUntilSignal(await startTeeWorker(settings, flags, { log }), log);
} catch (error) {
  if (error instanceof SettingsError) misconfigured(error);
  const refused = error instanceof UnsealRefused || error instanceof BootRefused || error instanceof SignLogError;
  if (!refused) {
    log.fatal({ err: error }, "the TEE worker cannot start");
    process.exit(1);
  }
  const reason = error instanceof SignLogError ? `SIGN_LOG_${error.code}` : error.refusal;
  const pcrs = error instanceof UnsealRefused ? error.pcrs : [];
  log.fatal({ reason, pcrs, why: error.message }, "the TEE worker does not serve; nothing was changed");
  process.exit(EXIT_UNSEAL_REFUSED);
}

/** Ends the process, unless the error is another one. */
function misconfigured(error: unknown): never {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(error.message + "\n");
  process.exit(EX_CONFIG);
}
