import { errorToJson, codeToHttpStatus } from "@connectrpc/connect/protocol-connect";
import { getRequestListener } from "@hono/node-server";
import type { ConnectError } from "@connectrpc/connect";

import { ErrorReason, Failure } from "../failure.ts";
import type { Logger } from "../log.ts";
import { bodySource } from "./body-source.ts";
import type { Exchange } from "./exchange.ts";
import { methodNotAllowed } from "./json-answer.ts";
import type { Limits } from "./limits.ts";
import { loggableError } from "./loggable-error.ts";
import { readAll } from "./request-body.ts";
import type { RequestInfo } from "./request-info.ts";
import { isWireError, nothingAt, refusal, wireError } from "./wire-error.ts";

/** Answers what is neither an RPC nor a route nor a probe. */
export type Pages = (request: Request, info: RequestInfo) => Response | Promise<Response>;

/**
 * Serves `pages`: with a body that is within the limits and already read, HEAD as a GET whose body Node leaves out, and a 404
 * among the routes' paths in Connect's shape.
 */
export function createPages(options: {
  pages: Pages | undefined;
  isApiPath: (path: string) => boolean;
  limits: Limits;
  log: Logger;
}): (exchange: Exchange) => Promise<void> {
  const { pages, isApiPath, limits, log } = options;
  return async (exchange) => {
    const { info } = exchange;
    if (!VERBS.includes(info.method)) throw methodNotAllowed(VERBS);
    const respond = async (request: Request): Promise<Response> => {
      try {
        const page = await pages?.(await wholeRequest(request, exchange, limits), info);
        if (page !== undefined && !(page.status === 404 && isApiPath(info.path))) return page;
        return errorResponse(nothingAt(info.path));
      } catch (error) {
        return errorResponse(sendable(error, info, log));
      }
    };
    const listener = getRequestListener(respond, { overrideGlobalObjects: false });
    await listener(exchange.request, exchange.response);
  };
}

/** What a page may take; the standard's Request cannot even be made with TRACE or CONNECT. */
const VERBS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/** The request with the standard's own classes, and all of its body. */
async function wholeRequest(request: Request, exchange: Exchange, limits: Limits): Promise<Request> {
  const { method } = exchange.info;
  const headers = new Headers([...request.headers]);
  if (method === "GET" || method === "HEAD") return new Request(request.url, { headers });
  const body = await readAll(bodySource(exchange, limits.requestTimeoutMs), limits.bodyBytes);
  return new Request(request.url, { method, headers, body: body.byteLength === 0 ? null : new Uint8Array(body) });
}

function errorResponse(error: ConnectError, status = codeToHttpStatus(error.code)): Response {
  const headers = new Headers(error.metadata);
  headers.set("content-type", "application/json");
  headers.set("cache-control", "no-store");
  return new Response(JSON.stringify(errorToJson(error, undefined)), { status, headers });
}

function sendable(error: unknown, { requestId }: RequestInfo, log: Logger): ConnectError {
  if (isWireError(error)) return error;
  if (error instanceof Failure) return wireError(error);
  log.error({ request_id: requestId, error: loggableError(error) }, "page failed unexpectedly");
  return refusal(ErrorReason.INTERNAL, `The server failed; its log says why, under request id ${requestId}.`);
}
