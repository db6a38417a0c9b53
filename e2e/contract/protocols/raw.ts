import { type DescMethodUnary, fromBinary, fromJsonString, type JsonValue } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { errorFromJson } from "@connectrpc/connect/protocol-connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";

import { type Answer, refusalOf } from "./answer.ts";
import { sendGrpc } from "./grpc.ts";

/** Sends bytes as the body of a call, whatever they are: what client libraries would never send. */
export type SendBytes = (rpc: DescMethodUnary, baseUrl: string, bytes: Uint8Array) => Promise<Answer>;

/** The protocols that carry binary messages, by name. */
export const binarySenders: Readonly<Record<string, SendBytes>> = {
  "Connect binary": (rpc, baseUrl, bytes) => sendConnect(rpc, baseUrl, "application/proto", bytes),
  gRPC: sendGrpc,
  "gRPC-Web": sendGrpcWeb,
};

/** The Connect protocol's JSON. */
export const sendConnectJson: SendBytes = (rpc, baseUrl, bytes) => sendConnect(rpc, baseUrl, "application/json", bytes);

async function sendConnect(rpc: DescMethodUnary, baseUrl: string, type: string, bytes: Uint8Array): Promise<Answer> {
  const response = await post(rpc, baseUrl, type, bytes);
  const body = Buffer.from(await response.arrayBuffer());
  if (!response.ok) {
    const json = JSON.parse(body.toString()) as JsonValue;
    return refusalOf(errorFromJson(json, undefined, new ConnectError("not an error of Connect's", Code.Unknown)));
  }
  const message =
    type === "application/proto" ? fromBinary(rpc.output, body) : fromJsonString(rpc.output, body.toString());
  return { code: "ok", response: message };
}

/** A frame is a byte of flags (0x80: trailers), four bytes of length, and the data. */
async function sendGrpcWeb(rpc: DescMethodUnary, baseUrl: string, bytes: Uint8Array): Promise<Answer> {
  const frame = Buffer.concat([Buffer.alloc(5), bytes]);
  frame.writeUInt32BE(bytes.length, 1);
  const response = await post(rpc, baseUrl, "application/grpc-web+proto", frame);
  const frames = framesOf(Buffer.from(await response.arrayBuffer()));
  const trailer = frames.find(({ flags }) => flags === 0x80)?.data.toString();
  const error = findTrailerError(trailer === undefined ? response.headers : headersFrom(trailer));
  if (error !== undefined) return refusalOf(error);
  const message = frames.find(({ flags }) => flags === 0);
  if (message === undefined) throw new Error("gRPC-Web: neither an error nor a message came back");
  return { code: "ok", response: fromBinary(rpc.output, message.data) };
}

function framesOf(body: Buffer): { flags: number; data: Buffer }[] {
  if (body.length === 0) return [];
  const end = 5 + body.readUInt32BE(1);
  return [{ flags: body.readUInt8(0), data: body.subarray(5, end) }, ...framesOf(body.subarray(end))];
}

function headersFrom(trailer: string): Headers {
  const lines = trailer.split("\r\n").filter((line) => line.includes(":"));
  const pairs = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  return new Headers(pairs);
}

function post(rpc: DescMethodUnary, baseUrl: string, type: string, body: Uint8Array): Promise<Response> {
  return fetch(`${baseUrl}/${rpc.parent.typeName}/${rpc.name}`, {
    method: "POST",
    headers: { "content-type": type },
    body: Buffer.from(body),
  });
}
