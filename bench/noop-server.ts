/** A server as both services run, whose one RPC does nothing: their own health check asks what they depend on. */
import { createLog } from "@agentkeys/lib/log";
import { Readiness, runUntilSignal, serve } from "@agentkeys/lib/rpc";
import { listenAddress } from "@agentkeys/lib/settings/kinds";

const log = createLog("noop");
const listen = listenAddress(process.argv[2] ?? "127.0.0.1:0");
runUntilSignal(
  await serve({ service: "noop", listen, services: [], routes: () => undefined, readiness: new Readiness(), log }),
  log,
);
