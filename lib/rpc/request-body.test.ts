import { gzipSync, brotliCompressSync } from "node:zlib";

import { DeriveAddressRequestSchema, KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { encodeEnvelope } from "@connectrpc/connect/protocol";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { trailerParse } from "@connectrpc/connect/protocol-grpc-web";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { ErrorReason } from "../failure.ts";
import { type CallFailure, failureOf } from "./index.ts";
import { protocols } from "./testing/protocols.ts";
import { failureIn, openSocket, parseResponse } from "./testing/raw-http.ts";
import { ACCOUNT, startToy, type ToyServer } from "./testing/toy-server.ts";

const MIB = 1024 * 1024;
const DERIVE = "/agentkeys.keys.v1.KeyService/DeriveAddress";
const validJson = JSON.stringify({ omniAccount: ACCOUNT });
const validBinary = toBinary(DeriveAddressRequestSchema, create(DeriveAddressRequestSchema, { omniAccount: ACCOUNT }));

let toy: ToyServer;
beforeAll(async () => (toy = await startToy()));
afterAll(() => toy.close());

interface Answer {
  status: number;
  failure: CallFailure;
}

async function post(path: string, body: string | Uint8Array, headers: Record<string, string>): Promise<Answer> {
  const response = await fetch(toy.url + path, { method: "POST", headers, body: Buffer.from(body) });
  return { status: response.status, failure: failureIn(await response.json()) };
}

/** The same bytes as a Connect JSON call and as a request to the HTTP route. */
const jsonPaths = [DERIVE, "/dev/derive-address"];
const postJson = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Answer> =>
  post(path, body, { "content-type": "application/json", ...headers });

/** Sends envelopes by gRPC-Web, and reads the status from the frame of trailers. */
async function postEnvelopes(body: Uint8Array, headers: Record<string, string> = {}): Promise<CallFailure> {
  const response = await fetch(toy.url + DERIVE, {
    method: "POST",
    headers: { "content-type": "application/grpc-web+proto", ...headers },
    body: Buffer.from(body),
  });
  const answer = Buffer.from(await response.arrayBuffer());
  expect(answer[0]).toBe(0x80);
  return failureOf(findTrailerError(trailerParse(answer.subarray(5))));
}

describe.each(protocols)("over $name", ({ call }) => {
  test("a message of more than 1 MiB is refused", async () => {
    const input = { omniAccount: ACCOUNT, challengeToken: "x".repeat(MIB) };
    const failure = failureOf(
      await call(toy.url, KeyService.method.signMessage, input).catch((error: unknown) => error),
    );
    expect(failure).toMatchObject({
      code: Code.ResourceExhausted,
      reason: ErrorReason.REQUEST_TOO_LARGE,
      message: "The request is larger than 1048576 bytes.",
    });
  });
});

describe.each(jsonPaths)("JSON at %s", (path) => {
  test.each([
    ["text that is no JSON", '{"omni_account": canary', "The request body is not JSON in UTF-8."],
    ["bytes that are no UTF-8", Uint8Array.of(0x22, 0xff, 0x22), "The request body is not JSON in UTF-8."],
    ["a list", "[]", "The request body must be a JSON object."],
    ["null", "null", "The request body must be a JSON object."],
    [
      "a number for a string",
      '{"omni_account":5}',
      "omni_account: must be a string of well-formed text, and be given once.",
    ],
    [
      "both names of a field",
      `{"omni_account":"${ACCOUNT}","omniAccount":"${ACCOUNT}"}`,
      "omni_account: must be a string of well-formed text, and be given once.",
    ],
    [
      "a key twice",
      '{"omni_account":"canary","omni_account":"b"}',
      "The request body is not the JSON of agentkeys.keys.v1.DeriveAddressRequest: a key comes twice, or a value in it cannot be read.",
    ],
    ["a nest of lists", "[".repeat(100_000), "The request body is not JSON in UTF-8."],
  ])("refuses %s in words of ours", async (_, body, message) => {
    const { status, failure } = await postJson(path, body);
    expect([status, failure.reason, failure.message]).toEqual([400, ErrorReason.INVALID_REQUEST, message]);
  });

  test.each([
    ["gzip", gzipSync(validJson)],
    ["br", brotliCompressSync(validJson)],
    ["identity", Buffer.from(validJson)],
  ])("takes a body compressed with %s", async (encoding, body) => {
    const headers = { "content-type": "application/json", "content-encoding": encoding };
    const response = await fetch(toy.url + path, { method: "POST", headers, body });
    expect(response.status).toBe(200);
  });

  test("refuses what is larger than 1 MiB only after decompression", async () => {
    const bomb = gzipSync(`{"omni_account":"${" ".repeat(8 * MIB)}"}`);
    expect(bomb.length).toBeLessThan(MIB);
    const { status, failure } = await postJson(path, bomb, { "content-encoding": "gzip" });
    expect([status, failure.reason]).toEqual([429, ErrorReason.REQUEST_TOO_LARGE]);
  });

  test("refuses what cannot be decompressed", async () => {
    const { status, failure } = await postJson(path, "canary", { "content-encoding": "gzip" });
    expect([status, failure.message]).toEqual([400, "The request body cannot be decompressed."]);
    const cut = await postJson(path, gzipSync(validJson).subarray(0, 20), { "content-encoding": "gzip" });
    expect([cut.status, cut.failure.message]).toEqual([400, "The request body cannot be decompressed."]);
  });

  test("names the compressions that it knows", async () => {
    const { status, failure } = await postJson(path, "canary", { "content-encoding": "zstd" });
    expect([status, failure.message]).toEqual([400, "The request's compression is not one of identity, gzip and br."]);
  });

  test("refuses a chunked body as soon as it is too large, and the connection lives on", async () => {
    const { socket, closed, received } = openSocket(toy.port);
    socket.write(
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`,
    );
    const chunk = `${(64 * 1024).toString(16)}\r\n${" ".repeat(64 * 1024)}\r\n`;
    while (!received().includes("REQUEST_TOO_LARGE")) {
      await new Promise((resolve) => socket.write(chunk, resolve));
    }
    expect(parseResponse(received()).status).toBe(429);
    socket.write(`0\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    expect(await closed).toMatch(/HTTP\/1.1 200 OK[^]*\{"live":true\}$/);
  });

  test("answers a body that ends before its content-length says so", async () => {
    const { socket, closed } = openSocket(toy.port);
    socket.end(
      `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"omni`,
    );
    const { status, body } = parseResponse(await closed);
    expect([status, JSON.parse(body)]).toEqual([
      400,
      { code: "invalid_argument", message: "This is not an HTTP request that can be read." },
    ]);
  });
});

test("a binary message that cannot be decoded is the caller's fault", async () => {
  const message = "The request is not a binary agentkeys.keys.v1.DeriveAddressRequest.";
  const connect = await post(DERIVE, "canary", { "content-type": "application/proto" });
  expect([connect.status, connect.failure.reason, connect.failure.message]).toEqual([
    400,
    ErrorReason.INVALID_REQUEST,
    message,
  ]);
  const grpcWeb = await postEnvelopes(encodeEnvelope(0, Buffer.from("canary")));
  expect([grpcWeb.code, grpcWeb.reason, grpcWeb.message]).toEqual([
    Code.InvalidArgument,
    ErrorReason.INVALID_REQUEST,
    message,
  ]);
});

describe("envelopes", () => {
  const message = encodeEnvelope(0, validBinary);
  const huge = Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3);

  test.each([
    ["end within a message", message.subarray(0, 20), "The request body ends within a message."],
    ["end within a length", message.subarray(0, 3), "The request body ends within a message."],
    ["are none", new Uint8Array(), "The request body has no message."],
    ["are two", Buffer.concat([message, message]), "The request body has more than one message."],
    ["have unknown flags", encodeEnvelope(4, validBinary), "The request body has a message with unknown flags."],
    [
      "are compressed with nothing",
      encodeEnvelope(1, validBinary),
      "The request body has a compressed message but names no compression.",
    ],
  ])("that %s are refused", async (_, body, text) => {
    expect(await postEnvelopes(body)).toMatchObject({
      code: Code.InvalidArgument,
      reason: ErrorReason.INVALID_REQUEST,
      message: text,
    });
  });

  test("that announce 4 GiB are refused at once", async () => {
    expect((await postEnvelopes(huge)).reason).toBe(ErrorReason.REQUEST_TOO_LARGE);
  });

  test("that grow beyond 1 MiB when decompressed are refused", async () => {
    const bomb = encodeEnvelope(1, gzipSync(Buffer.alloc(8 * MIB)));
    expect((await postEnvelopes(bomb, { "grpc-encoding": "gzip" })).reason).toBe(ErrorReason.REQUEST_TOO_LARGE);
  });

  test("may be compressed", async () => {
    const response = await fetch(toy.url + DERIVE, {
      method: "POST",
      headers: { "content-type": "application/grpc-web+proto", "grpc-encoding": "gzip" },
      body: Buffer.from(encodeEnvelope(1, gzipSync(validBinary))),
    });
    expect(Buffer.from(await response.arrayBuffer()).toString("latin1")).toContain(`0x${ACCOUNT.slice(0, 40)}`);
  });
});

test.each(["text/plain", "application/xml", "application/connect+json", "application/grpc-web-text", ""])(
  "a call of type %j is refused with 415 and a JSON error",
  async (type) => {
    const headers: Record<string, string> = type === "" ? {} : { "content-type": type };
    const { status, failure } = await post(DERIVE, validJson, headers);
    expect([status, failure.reason]).toEqual([415, ErrorReason.INVALID_REQUEST]);
    expect(failure.message).toMatch(/^Content-Type must be application\/json, application\/proto, /);
  },
);

test("nothing that was sent is repeated, neither in the log", () => {
  expect(toy.logText()).not.toContain("canary");
});
