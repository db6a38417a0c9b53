/** The broker as its own `main.ts` starts it, but without rate limits, which would be all that is measured. */
import { defaultAllowances } from "@agentkeys/broker/limits/index.ts";
import { readBrokerSettings } from "@agentkeys/broker/settings.ts";
import { startBroker } from "@agentkeys/broker/start.ts";
import { createLog } from "@agentkeys/lib/log";
import { runUntilSignal } from "@agentkeys/lib/rpc";

const settings = readBrokerSettings(process.env);
const log = createLog("broker", { level: settings.logLevel });
const endless = Object.keys(defaultAllowances).map((name) => [name, { times: 1e9, seconds: 1 }]);
runUntilSignal(
  await startBroker(settings, { log, allowances: Object.fromEntries(endless) as Partial<typeof defaultAllowances> }),
  log,
);
