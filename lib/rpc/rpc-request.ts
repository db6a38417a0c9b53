import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { UniversalHandler } from "@connectrpc/connect/protocol";

import { ErrorReason } from "../failure.ts";
import { bodySource } from "./body-source.ts";
import type { Exchange } from "./exchange.ts";
import { isHttp1, webHeaders } from "./node-http.ts";
import type { Invocation } from "./invoke.ts";
import { HttpRefusal, methodNotAllowed } from "./json-answer.ts";
import type { Limits } from "./limits.ts";
import { parseQuery } from "./query.ts";
import { checkedBody } from "./request-body.ts";
import { refusal } from "./wire-error.ts";
import { encodingHeader, type WireFormat, wireFormat } from "./wire-format.ts";

/** A call as its request carries it, before anything of its body is looked at. */
interface Carried {
  format: WireFormat;
  headers: Headers;
  encoding: string | undefined;
  source: AsyncIterable<Uint8Array>;
}

/**
 * Reads a request to an RPC's own path: Connect, gRPC or gRPC-Web. Throws an HttpRefusal, or a wire error, for a request
 * that no protocol of ours sends.
 */
export function readRpcRequest(exchange: Exchange, handler: UniversalHandler, limits: Limits): Invocation {
  const { request, record } = exchange;
  const { method } = handler;
  const isUnary = method.methodKind === "unary";
  const verbs = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS ? ["GET", "POST"] : ["POST"];
  if (!verbs.includes(request.method ?? "")) throw methodNotAllowed(verbs);
  if (method.methodKind === "bidi_streaming" && isHttp1(request)) {
    throw new HttpRefusal(505, "This call streams both ways and needs HTTP/2.", { connection: "close" });
  }
  const { format, headers, encoding, source } =
    request.method === "GET"
      ? carriedByQuery(exchange)
      : carriedByBody(exchange, isUnary, isUnary ? limits.requestTimeoutMs : undefined);
  record.protocol = format.protocol;
  // What Connect reads is decompressed, and so of another length.
  headers.delete(encodingHeader(format));
  headers.delete("content-length");
  const single = isUnary || method.methodKind === "server_streaming";
  const body = checkedBody(source, { format, encoding, input: method.input, single, maxBytes: limits.bodyBytes });
  return { handler, protocol: format.protocol, headers, body };
}

function carriedByBody(exchange: Exchange, isUnary: boolean, timeoutMs: number | undefined): Carried {
  const headers = webHeaders(exchange.request);
  const format = wireFormat(headers.get("content-type") ?? "", isUnary);
  if (format === undefined) throw unsupportedType(isUnary);
  const encoding = headers.get(encodingHeader(format)) ?? undefined;
  return { format, headers, encoding, source: bodySource(exchange, timeoutMs) };
}

/** A call without side effects may come as a GET: https://connectrpc.com/docs/protocol#unary-get-request */
function carriedByQuery({ request, query }: Exchange): Carried {
  const parameters = parseQuery(query);
  const parameter = (name: string): string => parameters.get(name)?.[0] ?? "";
  const codec = parameter("encoding");
  if (codec !== "proto" && codec !== "json") {
    throw refusal(ErrorReason.INVALID_REQUEST, "The query must say encoding=json or encoding=proto.");
  }
  const headers = webHeaders(request);
  headers.set("content-type", `application/${codec}`);
  const message = Buffer.from(parameter("message"), parameter("base64") === "1" ? "base64url" : "utf8");
  return {
    format: { protocol: "connect", codec, enveloped: false },
    headers,
    encoding: parameter("compression"),
    source: single(message),
  };
}

async function* single(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield await Promise.resolve(bytes);
}

function unsupportedType(isUnary: boolean): HttpRefusal {
  const connect = isUnary
    ? "application/json, application/proto"
    : "application/connect+json, application/connect+proto";
  return new HttpRefusal(
    415,
    `Content-Type must be ${connect}, application/grpc or application/grpc-web (with +json or +proto).`,
    { "accept-post": `${connect}, application/grpc, application/grpc-web` },
  );
}
