import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";

import { ErrorReason, Failure } from "../failure.ts";
import type { Logger } from "../log.ts";
import { callRecord, recordError } from "./call-record.ts";
import { channelBinding, channelBindingOf } from "./channel-binding.ts";
import type { Exchange } from "./exchange.ts";
import type { NodeResponse } from "./node-http.ts";
import { stopping } from "./guard.ts";
import { answerError } from "./json-answer.ts";
import { loggableError } from "./loggable-error.ts";
import { requestInfo } from "./request-info.ts";
import { limitTimeout } from "./timeout-header.ts";
import { isWireError, refusal, wireError } from "./wire-error.ts";
import type { WireFormat } from "./wire-format.ts";

/** Where a call that was read from an HTTP request goes on, and what Connect is to make of it. */
export interface Invocation {
  handler: UniversalHandler;
  protocol: WireFormat["protocol"];
  headers: Headers;
  body: AsyncIterable<Uint8Array>;
}

/** Hands a call to Connect and writes its answer. Never rejects. */
export async function invoke(
  exchange: Exchange,
  { handler, protocol, headers, body }: Invocation,
  server: { stopping: AbortSignal; maxTimeoutMs: number; log: Logger },
): Promise<void> {
  const { request, response, info, record } = exchange;
  response.setHeader("cache-control", "no-store");
  const isUnary = handler.method.methodKind === "unary";
  const refused = server.stopping.aborted
    ? shuttingDown()
    : limitTimeout(headers, protocol, isUnary ? server.maxTimeoutMs : undefined);
  const ended = new AbortController();
  const stop = (): void => ended.abort(shuttingDown());
  response.once("close", () => {
    server.stopping.removeEventListener("abort", stop);
    ended.abort(new ConnectError("The caller went away.", Code.Canceled));
  });
  // A unary call is finished before the server stops; a stream may never end by itself.
  if (!isUnary) server.stopping.addEventListener("abort", stop, { once: true });
  try {
    const answer = await handler({
      httpVersion: request.httpVersion,
      method: "POST",
      url: `http://localhost${handler.requestPath}`,
      header: headers,
      body: noting(refused === undefined ? body : refusedBody(refused), exchange),
      signal: ended.signal,
      contextValues: createContextValues()
        .set(requestInfo, info)
        .set(callRecord, record)
        .set(channelBinding, channelBindingOf(request))
        .set(stopping, server.stopping),
    });
    await write(answer, exchange);
  } catch (error) {
    if (response.destroyed || request.socket.destroyed) return; // the caller went away
    const { requestId } = info;
    server.log.error({ request_id: requestId, error: loggableError(error) }, "answering failed unexpectedly");
    if (response.headersSent) response.destroy();
    else
      answerError(
        exchange,
        refusal(ErrorReason.INTERNAL, `The server failed; its log says why, under request id ${requestId}.`),
      );
  }
}

/** What a call that comes too late is told. */
export function shuttingDown(): ConnectError {
  return wireError(
    new Failure(ErrorReason.SHUTTING_DOWN, "The server is shutting down; call again in a moment.", {
      retryAfterMs: 1000,
    }),
  );
}

/** A body that ends in an error before anything of it is read. */
async function* refusedBody(error: ConnectError): AsyncIterable<Uint8Array> {
  await Promise.reject(error);
  yield new Uint8Array();
}

/** Tells the access log of a body that was refused: no interceptor gets to see it. */
async function* noting(body: AsyncIterable<Uint8Array>, { record }: Exchange): AsyncIterable<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    if (isWireError(error)) recordError(record, error);
    throw error;
  }
}

async function write(
  { status, header, body, trailer }: UniversalServerResponse,
  { response }: Exchange,
): Promise<void> {
  const writeHead = (): void => {
    response.statusCode = status;
    for (const [name, value] of header ?? []) response.setHeader(name, value);
  };
  // The head waits for the first bytes: until then the handler may still set headers.
  let hasHead = false;
  for await (const chunk of trailer === undefined ? (body ?? []) : withReadableMessage(body ?? [], trailer)) {
    if (!hasHead) writeHead();
    hasHead = true;
    if (!writeChunk(response, chunk)) await drained(response);
  }
  if (!hasHead) writeHead();
  // HTTP/2 ends a response without a body along with its head, and then has no trailers.
  if (!hasHead && trailer !== undefined) {
    if ("stream" in response) response.writeHead(status);
    else response.flushHeaders();
  }
  if (trailer !== undefined) response.addTrailers(Object.fromEntries(trailer));
  response.end();
}

function writeChunk(response: NodeResponse, chunk: Uint8Array): boolean {
  return "stream" in response ? response.write(chunk) : response.write(chunk);
}

async function drained(response: NodeResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const settle = (): void => {
      response.off("drain", settle);
      response.off("close", settle);
      resolve();
    };
    response.on("drain", settle);
    response.on("close", settle);
    if (response.destroyed) settle();
  });
}

/**
 * Connect percent-encodes every punctuation mark of grpc-message; gRPC asks for it only outside of printable ASCII, and
 * grpc-js does not decode the rest.
 */
async function* withReadableMessage(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  trailer: Headers,
): AsyncIterable<Uint8Array> {
  yield* body;
  const message = trailer.get("grpc-message");
  if (message !== null) {
    const plain = decodeURIComponent(message);
    trailer.set(
      "grpc-message",
      plain.replace(/[^ -$&-~]+/g, (text) => encodeURIComponent(text)),
    );
  }
}
