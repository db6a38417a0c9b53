import { setMaxListeners } from "node:events";

import { Health } from "@agentkeys/gen/grpc/health/v1/health_pb";
import { ServerReflection } from "@agentkeys/gen/grpc/reflection/v1/reflection_pb";
import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, Interceptor } from "@connectrpc/connect";

import { type Clock, systemClock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { CallMetrics } from "../metrics/index.ts";
import { type RandomBytes, systemRandom } from "../random.ts";
import { countWhenDone, logWhenDone } from "./access-log.ts";
import { newCallRecord } from "./call-record.ts";
import { dispatch } from "./dispatch.ts";
import type { NodeRequest, NodeResponse } from "./node-http.ts";
import { guardCalls } from "./guard.ts";
import { createHandlers } from "./handlers.ts";
import { reportHealth } from "./health.ts";
import { defaultLimits, type Limits } from "./limits.ts";
import { createPages, type Pages } from "./pages.ts";
import { openPort, type TlsOptions } from "./port.ts";
import { createProbes } from "./probes.ts";
import type { Readiness } from "./readiness.ts";
import { reflect } from "./reflection.ts";
import { readRequestInfo } from "./request-info.ts";
import { sourceAddressBehind } from "./source-address.ts";
import { createRoutes } from "./transcoding.ts";
import { validateRequests } from "./validation.ts";

/** The parts that a server is made of. */
export interface ServeOptions {
  /** "broker" or "keys": what logs call it. */
  service: string;
  /** Port 0 takes a free one; `RunningServer` says which. */
  listen: { host: string; port: number };
  /** When given, the port speaks TLS only (HTTP/1.1 and HTTP/2 by ALPN) and refuses cleartext. */
  tls?: TlsOptions | undefined;
  /** The services that reflection describes, health reports on, and whose `google.api.http` routes are served. */
  services: readonly DescService[];
  /** Registers the handlers of `services`. An RPC that is declared and not implemented answers `unimplemented` NOT_SERVED. */
  routes: (router: ConnectRouter) => void;
  /** Run after validation, in this order: authentication comes here. Not run for reflection and health. */
  interceptors?: readonly Interceptor[];
  /** What /readyz and grpc.health.v1 report. */
  readiness: Readiness;
  /** Answers everything that is neither an RPC, nor a route, nor /livez or /readyz. HEAD arrives as GET. */
  pages?: Pages | undefined;
  /** CIDRs or addresses of proxies whose X-Forwarded-For is believed. */
  trustedProxies?: readonly string[];
  log: Logger;
  clock?: Clock;
  random?: RandomBytes;
  /** Makes what counts the requests, given how to ask for the number of open connections; absent: nothing does. */
  metrics?: ((openConnections: () => number) => CallMetrics) | undefined;
  limits?: Partial<Limits>;
}

/** A server that accepts calls. */
export interface RunningServer {
  /** `http://` or `https://`, the host listened on and the real port. */
  url: string;
  host: string;
  port: number;
  /**
   * Finishes what is in flight, answers new calls `unavailable` SHUTTING_DOWN meanwhile, cuts what is left after `drainMs`.
   * Resolves when the port is free; a second call waits for the first.
   */
  close(): Promise<void>;
}

/** How often a watcher of grpc.health.v1 makes the server look at its dependencies. */
const WATCH_EVERY_MS = 1000;

/** Starts a server; resolves when it listens, after logging `{"msg":"listening","url":…}`. Rejects when the port cannot be had. */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const { services, readiness, log, clock = systemClock, random = systemRandom } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const stop = new AbortController();
  setMaxListeners(0, stop.signal); // one for each stream and long poll
  const probes = createProbes(readiness, stop.signal, log);
  const described = [...services, Health, ServerReflection];
  const common = [guardCalls(log), validateRequests()];
  const { rpc, rest } = createHandlers({
    services,
    routes: options.routes,
    own: (router) => {
      reflect(described)(router);
      reportHealth({ services, look: () => probes.look(), watchEveryMs: WATCH_EVERY_MS })(router);
    },
    interceptors: [...common, ...(options.interceptors ?? [])],
    ownInterceptors: common,
  });
  const routes = createRoutes(services, rest, limits);
  const pages = createPages({ pages: options.pages, isApiPath: (path) => routes.hasPrefixOf(path), limits, log });
  const destinations = { rpc, routes, probes, pages, limits, stopping: stop.signal, log };
  const sourceAddress = sourceAddressBehind(options.trustedProxies ?? []);

  let callMetrics: CallMetrics | undefined = undefined;
  const onRequest = (request: NodeRequest, response: NodeResponse): void => {
    const { info, query } = readRequestInfo(request, { sourceAddress, random });
    const exchange = { request, response, info, query, record: newCallRecord() };
    logWhenDone(exchange, log, clock);
    if (callMetrics !== undefined) countWhenDone(exchange, callMetrics, clock);
    response.setHeader("x-request-id", info.requestId);
    void dispatch(exchange, destinations);
  };
  const opened = await openPort({ listen: options.listen, tls: options.tls, limits, onRequest });
  callMetrics = options.metrics?.(opened.openConnections);
  const { host, port } = opened;
  const url = `${options.tls === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  log.info({ url }, "listening");

  let closing: Promise<void> | undefined;
  return {
    url,
    host,
    port,
    close: () => {
      if (closing === undefined) {
        log.info("stopping");
        stop.abort();
        closing = opened.drain(limits.drainMs).then(() => log.info("stopped"));
      }
      return closing;
    },
  };
}
