/** The broker as a process. The only file here that reads the environment. */
import { createLog } from "@agentkeys/lib/log";
import { runUntilSignal } from "@agentkeys/lib/rpc";
import { EX_CONFIG, SettingsError } from "@agentkeys/lib/settings";

import { readBrokerSettings } from "./settings.ts";
import { startBroker } from "./start.ts";

try {
  const settings = readBrokerSettings(process.env);
  const log = createLog("broker", { level: settings.logLevel });
  const broker = await startBroker(settings, { log }).catch((error: unknown) => {
    if (error instanceof SettingsError) throw error;
    log.fatal({ err: error }, "the broker cannot start");
    process.exit(1);
  });
  runUntilSignal(broker, log);
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(error.message + "\n");
  process.exit(EX_CONFIG);
}
