/** The mailbox as a process. The only file here that reads the environment. */
import { createLog } from "@agentkeys/lib/log";
import { noFlags, runService } from "@agentkeys/lib/run-service";

import { mailboxHelp, readMailboxSettings } from "./settings.ts";
import { startMailbox } from "./start.ts";

await runService(
  {
    help: mailboxHelp,
    cannotStart: "the mailbox cannot start",
    open: (argv) => {
      noFlags(argv);
      const settings = readMailboxSettings(process.env);
      const log = createLog("mailbox", { level: settings.logLevel });
      return { log, start: () => startMailbox({ ...settings, log }) };
    },
  },
  process.argv.slice(2),
  process,
);
