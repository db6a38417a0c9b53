import { afterAll, expect, test } from "vitest";

import { buildContract, rpcsOf } from "./descriptors.ts";
import { describeMalformed } from "./malformed-suite.ts";
import { allProtocols } from "./protocols/all.ts";
import { describeRoutes } from "./route-suite.ts";
import { describeRpc } from "./rpc-suite.ts";
import { startContractSystem } from "./system.ts";

// Every RPC of every service in proto/, over every protocol: nothing here is written for one of them.
const { image, services } = buildContract();
const system = await startContractSystem();
afterAll(() => system.close());

const protocolsOf = allProtocols(image);
for (const rpc of rpcsOf(services)) {
  const baseUrl = system.baseUrlOf(rpc);
  describeRpc({ rpc, protocols: protocolsOf(rpc, baseUrl), callers: system.callers });
  describeMalformed(rpc, baseUrl);
}
for (const [server, url] of Object.entries(system.servers)) {
  describeRoutes(
    services.filter(({ typeName }) => typeName.startsWith(`agentkeys.${server}.`)),
    url,
  );
}

test.each(["/v1/auth/exchange", "/session/validate", "/v1/session/validate"])("there is no %s", async (path) => {
  for (const url of Object.values(system.servers)) {
    for (const method of ["GET", "POST"]) expect((await fetch(url + path, { method })).status).toBe(404);
  }
});
