import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { CallMetrics } from "../metrics/index.ts";
import type { Exchange } from "./exchange.ts";

/**
 * Writes one line per request when it ends: `call` with method, protocol, code and reason, or `request` with method, path and status for
 * what is no call. Headers, bodies and queries never come into it, nor a path at which nothing is served: it may hold anything.
 */
export function logWhenDone(exchange: Exchange, log: Logger, clock: Clock): void {
  const { response, info, record } = exchange;
  const startedAt = clock();
  response.once("close", () => {
    const common = { duration_ms: clock() - startedAt, request_id: info.requestId, source: info.sourceAddress };
    const level = record.quiet ? "debug" : "info";
    if (record.method !== undefined) {
      const code = codeOf(exchange);
      const { method, protocol, reason } = record;
      log[level]({ method, protocol, code, ...(reason !== undefined && { reason }), ...common }, "call");
    } else {
      const { statusCode: status } = response;
      const path = status === 404 || status === 400 ? undefined : info.path.slice(0, 200);
      const line = {
        http_method: info.method.slice(0, 20),
        path,
        status,
        ...(!response.writableEnded && { code: "canceled" }),
        ...common,
      };
      log[level](line, "request");
    }
  });
}

/** Counts a request when it ends; pages are one method together, and a page's code is whether it could be answered. */
export function countWhenDone(exchange: Exchange, metrics: CallMetrics, clock: Clock): void {
  const startedAt = clock();
  exchange.response.once("close", () => {
    metrics.answered(exchange.record.method ?? "page", codeOf(exchange), clock() - startedAt);
  });
}

function codeOf({ response, record }: Exchange): string {
  return response.writableEnded || record.code !== "ok" ? record.code : "canceled";
}
