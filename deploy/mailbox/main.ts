/** The mailbox as a process. The only file here that reads the environment. */
import { createLog } from "@agentkeys/lib/log";
import { runUntilSignal } from "@agentkeys/lib/rpc/run-until-signal";
import { EX_CONFIG, SettingsError } from "@agentkeys/lib/settings";

import { readMailboxSettings } from "./settings.ts";
import { startMailbox } from "./start.ts";

try {
  const settings = readMailboxSettings(process.env);
  const log = createLog("mailbox", { level: settings.logLevel });
  runUntilSignal(await startMailbox({ ...settings, log }), log);
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  process.stderr.write(error.message + "\n");
  process.exit(EX_CONFIG);
}
