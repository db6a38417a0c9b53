import { AccountService } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "../failure.ts";
import { failureOf } from "./index.ts";
import { requestInfo } from "./request-info.ts";
import { protocols } from "./testing/protocols.ts";
import { ACCOUNT, startToy, type ToyServer } from "./testing/toy-server.ts";

const { deriveAddress, signMessage, getAttestation } = KeyService.method;

let toy: ToyServer;
beforeAll(async () => {
  toy = await startToy({
    keys: {
      signMessage: ({ messageHex }, { values }) => {
        if (messageHex === "bad0") throw new Error("secret: canary-in-exception");
        if (messageHex === "beef") {
          const text = 'too many calls: 100% of "quota", näm­lich 5/5';
          throw new Failure(ErrorReason.RATE_LIMITED, text, { retryAfterMs: 1500, metadata: { limit: "signatures" } });
        }
        return { signature: values.get(requestInfo).requestId };
      },
    },
  });
});
afterAll(() => toy.close());

describe.each(protocols)("over $name", ({ call }) => {
  test("a call is answered", async () => {
    const answer = await call(toy.url, deriveAddress, { omniAccount: ACCOUNT });
    expect(answer.address).toBe(`0x${ACCOUNT.slice(0, 40)}`);
  });

  test("a broken field rule names the field and the reason that the field declares", async () => {
    const failure = failureOf(
      await call(toy.url, deriveAddress, { omniAccount: "ABC" }).catch((error: unknown) => error),
    );
    expect(failure).toMatchObject({ code: Code.InvalidArgument, reason: ErrorReason.INVALID_OMNI_ACCOUNT });
    expect(failure.message).toBe("omni_account: does not match regex pattern `^[0-9a-f]{64}$`");
  });

  test("a Failure arrives with code, reason, message, metadata and the time to wait", async () => {
    const input = { omniAccount: ACCOUNT, messageHex: "beef" };
    const failure = failureOf(await call(toy.url, signMessage, input).catch((error: unknown) => error));
    expect(failure).toEqual({
      code: Code.ResourceExhausted,
      reason: ErrorReason.RATE_LIMITED,
      message: 'too many calls: 100% of "quota", näm­lich 5/5',
      retryAfterMs: 1500,
      metadata: { limit: "signatures" },
    });
  });

  test("an unexpected exception tells the caller nothing but the request id", async () => {
    const input = { omniAccount: ACCOUNT, messageHex: "bad0" };
    const headers = { "x-request-id": "one-particular-id" };
    const failure = failureOf(await call(toy.url, signMessage, input, { headers }).catch((error: unknown) => error));
    expect(failure).toMatchObject({ code: Code.Internal, reason: ErrorReason.INTERNAL });
    expect(failure.message).toBe("The server failed; its log says why, under request id one-particular-id.");
  });

  test("an RPC that the server does not implement is not served", async () => {
    const failure = failureOf(
      await call(toy.url, getAttestation, { nonceHex: "00".repeat(16) }).catch((error: unknown) => error),
    );
    expect(failure).toMatchObject({ code: Code.Unimplemented, reason: ErrorReason.NOT_SERVED });
    expect(failure.message).toBe("This server does not serve agentkeys.keys.v1.KeyService/GetAttestation.");
  });

  test("the handler sees the request's id", async () => {
    const headers = { "x-request-id": "id.of_the-caller" };
    const answer = await call(toy.url, signMessage, { omniAccount: ACCOUNT, messageHex: "00" }, { headers });
    expect(answer.signature).toBe("id.of_the-caller");
  });
});

describe("an RPC without side effects", () => {
  test.each(["json", "proto"])("is also answered over Connect GET, %s", async (encoding) => {
    const transport = createConnectTransport({
      baseUrl: toy.url,
      httpVersion: "1.1",
      useHttpGet: true,
      useBinaryFormat: encoding === "proto",
    });
    const { nextPageToken } = await createClient(AccountService, transport).listEvents({
      pageSize: 3,
      pageToken: "abc",
    });
    expect(nextPageToken).toBe("3 abc");
    expect(toy.logged.at(-1)).toMatchObject({
      method: "agentkeys.broker.v1.AccountService/ListEvents",
      protocol: "connect",
    });
  });

  test("names what is wrong in a Connect GET", async () => {
    const path = "/agentkeys.broker.v1.AccountService/ListEvents";
    const messageOf = async (query: string): Promise<unknown> => {
      const response = await fetch(`${toy.url}${path}?${query}`);
      expect(response.status).toBe(400);
      return ((await response.json()) as { message: string }).message;
    };
    expect(await messageOf("message=%7B%7D")).toBe("The query must say encoding=json or encoding=proto.");
    expect(await messageOf("encoding=json&message=%7B")).toBe("The request body is not JSON in UTF-8.");
    expect(await messageOf("encoding=json&message=%zz")).toBe("The query is not percent-encoded UTF-8.");
    expect(await messageOf("encoding=proto&base64=1&message=-_-_")).toBe(
      "The request is not a binary agentkeys.broker.v1.ListEventsRequest.",
    );
    expect(await messageOf("encoding=json&message=%7B%22page_size%22:201%7D")).toMatch(/^page_size: /);
  });

  test("only those are: a call that signs cannot be made by a link", async () => {
    const response = await fetch(`${toy.url}/agentkeys.keys.v1.KeyService/SignMessage?encoding=json&message=%7B%7D`);
    expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
  });
});
