import { setTimeout as wait } from "node:timers/promises";

import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "@agentkeys/gen/grpc/health/v1/health_pb";
import type { DescService } from "@bufbuild/protobuf";
import { Code, type ConnectRouter } from "@connectrpc/connect";

import type { ReadinessState } from "./readiness.ts";
import { codeOnly } from "./wire-error.ts";

/**
 * Serves grpc.health.v1: the server as a whole (the empty name) and each service serve when the process is ready. A watcher hears of
 * changes within `watchEveryMs`.
 */
export function reportHealth(options: {
  services: readonly DescService[];
  look: () => Promise<ReadinessState>;
  watchEveryMs: number;
}): (router: ConnectRouter) => void {
  const names = ["", ...options.services.map(({ typeName }) => typeName)];
  const statusNow = async (): Promise<ServingStatus> =>
    (await options.look()).ready ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  return (router) => {
    router.service(Health, {
      check: async ({ service }) => {
        if (!names.includes(service)) throw codeOnly(Code.NotFound, `This server has no service "${service}".`);
        return { status: await statusNow() };
      },
      list: async () => {
        const status = await statusNow();
        return { statuses: Object.fromEntries(names.map((name) => [name, { status }])) };
      },
      watch: async function* ({ service }, { signal }) {
        let told: ServingStatus | undefined;
        for (;;) {
          const status = names.includes(service) ? await statusNow() : ServingStatus.SERVICE_UNKNOWN;
          if (status !== told) yield { status };
          told = status;
          await wait(options.watchEveryMs, undefined, { signal });
        }
      },
    });
  };
}
