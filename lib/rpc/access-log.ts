import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { Exchange } from "./exchange.ts";

/**
 * Writes one line per request when it ends: `call` with method, protocol, code and reason, or `request` with method, path and status for
 * what is no call. Headers, bodies and queries never come into it, nor a path at which nothing is served: it may hold anything.
 */
export function logWhenDone(exchange: Exchange, log: Logger, clock: Clock): void {
  const { response, info, record } = exchange;
  const startedAt = clock();
  response.once("close", () => {
    const isAnswered = response.writableEnded;
    const common = { duration_ms: clock() - startedAt, request_id: info.requestId, source: info.sourceAddress };
    const level = record.quiet ? "debug" : "info";
    if (record.method !== undefined) {
      const code = isAnswered || record.code !== "ok" ? record.code : "canceled";
      const { method, protocol, reason } = record;
      log[level]({ method, protocol, code, ...(reason !== undefined && { reason }), ...common }, "call");
    } else {
      const { statusCode: status } = response;
      const path = status === 404 || status === 400 ? undefined : info.path.slice(0, 200);
      const line = {
        http_method: info.method.slice(0, 20),
        path,
        status,
        ...(!isAnswered && { code: "canceled" }),
        ...common,
      };
      log[level](line, "request");
    }
  });
}
