import { BackupService } from "@agentkeys/gen/agentkeys/keys/v1/backup_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { SignLogService } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";
import { type Clock, systemClock } from "@agentkeys/lib/clock";
import { createLog, type Logger } from "@agentkeys/lib/log";
import { createCallMetrics, Registry, serveMetrics } from "@agentkeys/lib/metrics";
import { Readiness, type RunningServer, serve } from "@agentkeys/lib/rpc";
import { ownOrigins } from "@agentkeys/lib/rpc/own-origins";
import { authenticate } from "@agentkeys/lib/session";

import { createDevBackend, DEV_WARNING } from "./backends/dev.ts";
import { admitByBroker } from "./broker-admission.ts";
import { createKeyService } from "./key-service.ts";
import type { KeyServiceSettings } from "./settings.ts";
import { createSignLogService } from "./sign-log-service.ts";
import { createCountingLog, createJsonLinesLog, type SignLog } from "./sign-log/index.ts";

/** What tests replace. */
export interface KeyServiceDependencies {
  log?: Logger;
  clock?: Clock;
  signLog?: SignLog;
}

/** A key service that accepts calls. */
export interface RunningKeyService extends RunningServer {
  /** Where what is counted can be scraped; absent where that was not asked for. */
  metricsUrl?: string;
}

/** Puts the parts together and starts to listen. `close` drains, then zeroes the master secret. */
export async function startKeyService(
  settings: KeyServiceSettings,
  {
    log = createLog("keys", { level: settings.logLevel }),
    clock = systemClock,
    signLog = createJsonLinesLog({ clock, ...(settings.signLog !== undefined && { path: settings.signLog }) }),
  }: KeyServiceDependencies = {},
): Promise<RunningKeyService> {
  log.warn(DEV_WARNING);
  const registry = new Registry();
  const engine = settings.masterSecret === undefined ? undefined : createDevBackend(settings.masterSecret);
  const readiness = new Readiness();
  readiness.set("master_secret", () =>
    engine === undefined ? Promise.reject(new Error("DEV_KEY_SERVICE_MASTER_SECRET is not set")) : Promise.resolve(),
  );

  let origins: readonly string[] = [];
  const { broker } = settings;
  let admission = authenticate({ accountOwner: "loopback" });
  if (broker === undefined) {
    log.warn("no AGENTKEYS_KEYS_BROKER_URL: any program on this machine can have any account's wallet sign");
  } else {
    const byBroker = admitByBroker(broker, { origins: () => origins, clock });
    readiness.set("broker", byBroker.isReachable);
    admission = byBroker.interceptor;
  }

  const server = await serve({
    service: "keys",
    metrics: (openConnections) => createCallMetrics(registry, openConnections),
    listen: settings.listen,
    services: [KeyService, SignLogService, BackupService],
    routes: (router) =>
      router
        .service(KeyService, createKeyService({ engine, signLog: createCountingLog(signLog, registry) }))
        .service(SignLogService, createSignLogService(undefined))
        // Only a TEE worker keeps shares of others: nothing of it is here.
        .service(BackupService, {}),
    interceptors: [admission],
    readiness,
    log,
    clock,
    ...(settings.tls && { tls: settings.tls }),
  });
  origins = ownOrigins(server, settings.publicUrl);

  const { metricsListen } = settings;
  const scraped = await (metricsListen && serveMetrics({ listen: metricsListen, registry, log }))?.catch(
    async (error: unknown) => {
      await server.close();
      throw error;
    },
  );

  return {
    ...server,
    ...(scraped && { metricsUrl: scraped.url }),
    close: async () => {
      await server.close();
      await scraped?.close();
      engine?.destroy();
      await signLog.close();
    },
  };
}
