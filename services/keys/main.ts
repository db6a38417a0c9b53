/** DEV ONLY until the TEE backend joins it: the key service as a process. The only file here that reads the environment. */
import { createLog } from "@agentkeys/lib/log";
import { runUntilSignal } from "@agentkeys/lib/rpc";
import { SettingsError } from "@agentkeys/lib/settings";

import { DEV_MASTER_SECRET } from "./backends/dev.ts";
import { EX_CONFIG, type KeyServiceSettings, readKeyServiceSettings } from "./settings.ts";
import { startKeyService } from "./start.ts";

let settings: KeyServiceSettings;
try {
  settings = readKeyServiceSettings(process.env);
} catch (error) {
  misconfigured(error);
}
// A child process, or a reader of this process's environment through Node, no longer finds it.
Reflect.deleteProperty(process.env, DEV_MASTER_SECRET);

const log = createLog("keys", { level: settings.logLevel });
try {
  runUntilSignal(await startKeyService(settings, { log }), log);
} catch (error) {
  if (error instanceof SettingsError) misconfigured(error);
  log.fatal({ err: error }, "the key service cannot start");
  process.exit(1);
}

/** Ends the process, unless the error is another one. */
function misconfigured(error: unknown): never {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(error.message + "\n");
  process.exit(EX_CONFIG);
}
