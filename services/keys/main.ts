/** DEV ONLY: the development key service as a process. Beside main-tee.ts the only file here that reads the environment. */
import { createLog } from "@agentkeys/lib/log";
import { noFlags, runService } from "@agentkeys/lib/run-service";

import { DEV_MASTER_SECRET } from "./backends/dev.ts";
import { keyServiceHelp, readKeyServiceSettings } from "./settings.ts";
import { startKeyService } from "./start.ts";

await runService(
  {
    help: keyServiceHelp,
    cannotStart: "the key service cannot start",
    open: (argv) => {
      noFlags(argv);
      const settings = readKeyServiceSettings(process.env);
      // A child process, or a reader of this process's environment through Node, no longer finds it.
      Reflect.deleteProperty(process.env, DEV_MASTER_SECRET);
      const log = createLog("keys", { level: settings.logLevel });
      return { log, start: () => startKeyService(settings, { log }) };
    },
  },
  process.argv.slice(2),
  process,
);
