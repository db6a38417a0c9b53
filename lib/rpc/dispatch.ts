import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";

import { ErrorReason } from "../failure.ts";
import type { Logger } from "../log.ts";
import { recordError } from "./call-record.ts";
import type { Exchange } from "./exchange.ts";
import { closeAfter, header } from "./node-http.ts";
import { invoke, shuttingDown } from "./invoke.ts";
import { answerError, HttpRefusal } from "./json-answer.ts";
import type { Limits } from "./limits.ts";
import { loggableError } from "./loggable-error.ts";
import type { Probes } from "./probes.ts";
import { isPercentEncoded } from "./query.ts";
import { readRpcRequest } from "./rpc-request.ts";
import type { Routes } from "./transcoding.ts";
import { isWireError, refusal } from "./wire-error.ts";

export interface Destinations {
  rpc: ReadonlyMap<string, UniversalHandler>;
  routes: Routes;
  probes: Probes;
  pages: (exchange: Exchange) => Promise<void>;
  limits: Limits;
  stopping: AbortSignal;
  log: Logger;
}

/** Takes a request to the RPC, route, probe or page that its path names. Never rejects: what fails is answered. */
export async function dispatch(exchange: Exchange, to: Destinations): Promise<void> {
  const { info, response } = exchange;
  try {
    await serve(exchange, to);
  } catch (error) {
    if (error instanceof HttpRefusal) {
      error.answer(exchange);
    } else if (isWireError(error)) {
      answerError(exchange, error);
    } else {
      to.log.error({ request_id: info.requestId, error: loggableError(error) }, "request failed unexpectedly");
      const failure = `The server failed; its log says why, under request id ${info.requestId}.`;
      if (response.headersSent) response.destroy();
      else answerError(exchange, refusal(ErrorReason.INTERNAL, failure));
    }
  }
}

async function serve(exchange: Exchange, to: Destinations): Promise<void> {
  const { info } = exchange;
  if (to.stopping.aborted) closeAfter(exchange);
  if (!isPercentEncoded(info.path))
    throw refusal(ErrorReason.INVALID_REQUEST, "The path is not percent-encoded UTF-8.");
  if (await to.probes.answer(exchange)) return;
  const call = readCall(exchange, to);
  if (call !== undefined) {
    await invoke(exchange, call, { stopping: to.stopping, maxTimeoutMs: to.limits.maxTimeoutMs, log: to.log });
  } else if (!answerUnknownRpc(exchange)) {
    if (to.stopping.aborted) throw shuttingDown();
    await to.pages(exchange);
  }
}

function readCall(exchange: Exchange, { rpc, routes, limits }: Destinations) {
  const { path } = exchange.info;
  const handler = rpc.get(path);
  if (handler !== undefined) {
    exchange.record.method = path.slice(1);
    exchange.record.quiet = path.startsWith("/grpc.health.v1.Health/");
    refuseForeignOrigin(exchange);
    return readRpcRequest(exchange, handler, limits);
  }
  const call = routes.read(exchange);
  if (call !== undefined) refuseForeignOrigin(exchange);
  return call;
}

/**
 * Browsers send a web page's calls without asking when they look simple enough, to services on the machine itself too. No
 * other origin has any business here, so a request that a browser marks as one's is refused.
 */
function refuseForeignOrigin({ request }: Exchange): void {
  const origin = header(request, "origin");
  const host = "authority" in request ? request.authority : header(request, "host");
  if (origin === undefined || origin.replace(/^https?:\/\//, "") === host) return;
  throw refusal(ErrorReason.INVALID_REQUEST, "Calls from web pages of another origin are refused.");
}

/** A path in the form of an RPC's that is none: gRPC clients want to hear it their way, Connect's as a 404. */
function answerUnknownRpc(exchange: Exchange): boolean {
  const { request, response, info, record } = exchange;
  if (info.method !== "POST" || !/^\/[A-Za-z_][\w.]*\.[\w.]+\/\w+$/.test(info.path)) return false;
  const error = refusal(ErrorReason.NOT_SERVED, "This server has no such RPC.");
  const contentType = header(request, "content-type") ?? "";
  if (!contentType.startsWith("application/grpc")) {
    answerError(exchange, error, 404);
    return true;
  }
  // A response of trailers only: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
  recordError(record, error);
  const status = new Headers({ "content-type": contentType });
  setTrailerStatus(status, error);
  for (const [name, value] of status) response.setHeader(name, value);
  response.end();
  return true;
}
