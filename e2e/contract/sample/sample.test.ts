import { Access } from "@agentkeys/gen/agentkeys/access/v1/access_pb";
import { afterAll, expect, test } from "vitest";

import type { Callers } from "../callers.ts";
import { buildSampleContract, rpcsOf } from "../descriptors.ts";
import { messagesOf } from "../generator/messages.ts";
import { describeMalformed } from "../malformed-suite.ts";
import { allProtocols } from "../protocols/all.ts";
import { anonymous } from "../protocols/protocol.ts";
import { describeRoutes } from "../route-suite.ts";
import { describeRpc } from "../rpc-suite.ts";
import { startSampleServer } from "./server.ts";

// The contract tests of a service that has every kind of field, rule and route: they cover it with nothing written for it.
const { image, services } = buildSampleContract();
const server = await startSampleServer(services[0]!);
afterAll(() => server.close());

const anyone = (access: Access) => {
  if (access !== Access.ANYONE) throw new Error("the sample's RPCs are for anyone");
  return Promise.resolve({ credentials: anonymous });
};
const callers: Callers = { rightful: anyone, rightfulForReading: anyone, withOtherSession: anyone, prepared: {} };

const protocolsOf = allProtocols(image);
for (const rpc of rpcsOf(services)) {
  describeRpc({ rpc, protocols: protocolsOf(rpc, server.url), callers });
  describeMalformed(rpc, server.url);
}
describeRoutes(services, server.url);

test("the sample's RPCs are served, so that the tests above are about answers and not about refusals", async () => {
  for (const rpc of rpcsOf(services)) {
    const [reference] = protocolsOf(rpc, server.url);
    const [valid] = messagesOf(rpc.input).valid;
    expect((await reference.call(valid!.message, anonymous)).code, rpc.toString()).toBe("ok");
  }
});
