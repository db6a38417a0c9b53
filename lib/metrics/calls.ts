import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** What every server counts of its requests. */
export interface CallMetrics {
  /**
   * Counts an answered request. `method` is one that the server serves, or `page`: never what a caller wrote, which would make as many
   * series as callers like.
   */
  answered(method: string, code: string, durationMs: number): void;
}

/** Adds them to a registry. `openConnections` is asked at each scrape. */
export function createCallMetrics(registry: Registry, openConnections: () => number): CallMetrics {
  const registers = [registry];
  const calls = new Counter({
    name: "agentkeys_calls_total",
    help: "Requests answered, by RPC (or page) and by Connect's error code (or ok).",
    labelNames: ["method", "code"],
    registers,
  });
  const durations = new Histogram({
    name: "agentkeys_call_duration_seconds",
    help: "From the request's headers to the end of its answer; AwaitLogin waits for people.",
    labelNames: ["method"],
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
    registers,
  });
  new Gauge({
    name: "agentkeys_open_connections",
    help: "Connections that are open now.",
    registers,
    collect() {
      this.set(openConnections());
    },
  });
  return {
    answered: (method, code, durationMs) => {
      calls.inc({ method, code });
      durations.observe({ method }, durationMs / 1000);
    },
  };
}
