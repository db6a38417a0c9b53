/** The TEE worker as a process. Beside main.ts the only file here that reads the environment. */
import { createLog } from "@agentkeys/lib/log";
import { runService, type Service } from "@agentkeys/lib/run-service";

import { BootRefused } from "./backends/tee/boot-decision.ts";
import { EXIT_UNSEAL_REFUSED, UnsealRefused } from "./backends/tee/sealer.ts";
import { readTeeFlags, readTeeSettings, teeHelp } from "./settings-tee.ts";
import { SignLogError } from "./sign-log/index.ts";
import { startTeeWorker } from "./start-tee.ts";

const worker: Service = {
  help: teeHelp,
  cannotStart: "the TEE worker cannot start",
  open: (argv) => {
    const settings = readTeeSettings(process.env);
    const flags = readTeeFlags(argv);
    const log = createLog("keys", { level: settings.logLevel });
    return { log, start: () => startTeeWorker(settings, flags, { log }) };
  },
  refusal: (error) => {
    const refused = error instanceof UnsealRefused || error instanceof BootRefused || error instanceof SignLogError;
    if (!refused) return undefined;
    const reason = error instanceof SignLogError ? `SIGN_LOG_${error.code}` : error.refusal;
    const pcrs = error instanceof UnsealRefused ? error.pcrs : [];
    return {
      status: EXIT_UNSEAL_REFUSED,
      fields: { reason, pcrs, why: error.message },
      message: "the TEE worker does not serve; nothing was changed",
    };
  },
};

// Node would start its inspector, which shows the whole memory to whoever connects on this machine.
process.on("SIGUSR1", () => undefined);
await runService(worker, process.argv.slice(2), process);
