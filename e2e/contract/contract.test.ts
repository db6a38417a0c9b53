import { afterAll } from "vitest";

import { buildContract, rpcsOf } from "./descriptors.ts";
import { allProtocols } from "./protocols/all.ts";
import { describeRpc } from "./rpc-suite.ts";
import { startContractSystem } from "./system.ts";

// Every RPC of every service in proto/, over every protocol: nothing here is written for one of them.
const { image, services } = buildContract();
const system = await startContractSystem();
afterAll(() => system.close());

const protocolsOf = allProtocols(image);
for (const rpc of rpcsOf(services)) {
  describeRpc({ rpc, protocols: protocolsOf(rpc, system.baseUrlOf(rpc)), callers: system.callers });
}
