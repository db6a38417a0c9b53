import { create, type DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { createLog } from "@agentkeys/lib/log";
import { Readiness, type RunningServer, serve } from "@agentkeys/lib/rpc";

import { rpcsOf } from "../descriptors.ts";

/**
 * Serves a service that has no implementation: every valid call is answered with an empty message. What the contract tests
 * are about is all in lib/rpc, which is the real one.
 */
export function startSampleServer(service: DescService): Promise<RunningServer> {
  return serve({
    service: "sample",
    listen: { host: "127.0.0.1", port: 0 },
    services: [service],
    routes: (router) => {
      const handlers = rpcsOf([service]).map((rpc) => [rpc.localName, () => create(rpc.output)]);
      router.service(service, Object.fromEntries(handlers) as ServiceImpl<DescService>);
    },
    readiness: new Readiness(),
    log: createLog("sample", { level: "silent" }),
  });
}
