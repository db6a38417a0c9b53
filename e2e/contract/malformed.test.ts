import { afterAll } from "vitest";

import { buildContract, rpcsOf } from "./descriptors.ts";
import { describeMalformed } from "./malformed-suite.ts";
import { startContractSystem } from "./system.ts";

// What client libraries never send, to every RPC of every service in proto/.
const { services } = buildContract();
const system = await startContractSystem();
afterAll(() => system.close());

for (const rpc of rpcsOf(services)) describeMalformed(rpc, system.baseUrlOf(rpc));
