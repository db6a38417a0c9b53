import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { ViolationsSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "../failure.ts";
import { connectTransport, failureOf } from "./index.ts";
import { ACCOUNT, startToy, type ToyServer } from "./testing/toy-server.ts";

let toy: ToyServer;
const seen: string[] = [];
const authenticate: Interceptor = (next) => async (request) => {
  seen.push(request.method.name);
  if (request.header.get("authorization") !== null) return await next(request);
  throw new Failure(ErrorReason.SESSION_REQUIRED, "Who are you?");
};
beforeAll(async () => (toy = await startToy({ interceptors: [authenticate] })));
afterAll(() => toy.close());

const failing = async (call: Promise<unknown>): Promise<ConnectError> =>
  ConnectError.from(await call.catch((error: unknown) => error));

describe("validation", () => {
  test("names every field that breaks a rule, in words and in buf.validate.Violations", async () => {
    const client = createClient(KeyService, connectTransport(toy.url));
    const error = await failing(
      client.signMessage({ omniAccount: ACCOUNT, messageHex: "abc", challengeToken: "x".repeat(8193) }),
    );
    expect(error.rawMessage).toBe(
      "message_hex: does not match regex pattern `^(0x)?([0-9a-fA-F]{2})*$`; challenge_token: must be at most 8192 characters",
    );
    expect(failureOf(error).reason).toBe(ErrorReason.INVALID_REQUEST);
    const [violations] = error.findDetails(ViolationsSchema);
    expect(violations?.violations.map(({ ruleId }) => ruleId)).toEqual(["string.pattern", "string.max_len"]);
  });

  test("takes the reason that a violated field declares, even when others break rules too", async () => {
    const client = createClient(KeyService, connectTransport(toy.url));
    const error = await failing(client.signMessage({ omniAccount: "x", messageHex: "abc" }));
    expect(failureOf(error).reason).toBe(ErrorReason.INVALID_OMNI_ACCOUNT);
  });

  test("comes before the given interceptors: a malformed request is not asked who sent it", async () => {
    seen.length = 0;
    const client = createClient(KeyService, connectTransport(toy.url));
    expect(failureOf(await failing(client.deriveAddress({ omniAccount: "x" }))).reason).toBe(
      ErrorReason.INVALID_OMNI_ACCOUNT,
    );
    expect(seen).toEqual([]);
    expect(failureOf(await failing(client.deriveAddress({ omniAccount: ACCOUNT }))).reason).toBe(
      ErrorReason.SESSION_REQUIRED,
    );
    expect(seen).toEqual(["DeriveAddress"]);
  });

  test("the given interceptors run for the HTTP routes too", async () => {
    const body = Buffer.from(`{"omni_account":"${ACCOUNT}"}`);
    expect((await fetch(`${toy.url}/dev/derive-address`, { method: "POST", body })).status).toBe(401);
    const headers = { authorization: "yes" };
    expect((await fetch(`${toy.url}/dev/derive-address`, { method: "POST", headers, body })).status).toBe(200);
  });
});
