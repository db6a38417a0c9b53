import { createLog } from "@agentkeys/lib/log";
import { EX_CONFIG, SettingsError } from "@agentkeys/lib/settings";

import { readMailboxSettings } from "./settings.ts";
import { startMailbox } from "./start.ts";

try {
  const settings = readMailboxSettings(process.env);
  const mailbox = await startMailbox({ ...settings, log: createLog("mailbox", { level: settings.logLevel }) });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void mailbox.close().then(() => process.exit(0)));
  }
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  console.error(error.message);
  process.exitCode = EX_CONFIG;
}
