/** What can be counted and scraped: in the Prometheus text format, at an address of its own. No label ever names a person. */
export { createCallMetrics, type CallMetrics } from "./calls.ts";
export { Counter, Registry } from "prom-client";
export { type MetricsServer, serveMetrics } from "./serve-metrics.ts";
