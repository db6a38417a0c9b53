/** The broker as a process. The only file here that reads the environment. */
import { createLog } from "@agentkeys/lib/log";
import { noFlags, runService } from "@agentkeys/lib/run-service";

import { brokerHelp, readBrokerSettings } from "./settings.ts";
import { startBroker } from "./start.ts";

await runService(
  {
    help: brokerHelp,
    cannotStart: "the broker cannot start",
    open: (argv) => {
      noFlags(argv);
      const settings = readBrokerSettings(process.env);
      const log = createLog("broker", { level: settings.logLevel });
      return { log, start: () => startBroker(settings, { log }) };
    },
  },
  process.argv.slice(2),
  process,
);
