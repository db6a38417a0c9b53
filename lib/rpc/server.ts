import type { DescService } from "@bufbuild/protobuf";
import type { ConnectRouter, Interceptor } from "@connectrpc/connect";

import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { RandomBytes } from "../random.ts";
import type { Readiness } from "./readiness.ts";
import type { RequestInfo } from "./request-info.ts";

/** How much and how long a caller may take; all times in milliseconds. */
export interface Limits {
  /** The largest request body, and the largest message in it after decompression. Default 1 MiB. */
  bodyBytes: number;
  /** From the first byte of an HTTP/1.1 request to the end of its headers. Default 10 s. */
  headersTimeoutMs: number;
  /** From the first byte of an HTTP/1.1 request to its last. Default 30 s. */
  requestTimeoutMs: number;
  /** The longest that a call may run; a client's own timeout may be shorter. Default 60 s. */
  maxTimeoutMs: number;
  /** How long `close` waits for calls in flight before it cuts them. Default 10 s. */
  drainMs: number;
  /** From the connection to the bytes that tell which protocol it speaks. Default 10 s. */
  firstByteTimeoutMs: number;
}

/** The parts that a server is made of. */
export interface ServeOptions {
  /** "broker" or "keys": what logs call it. */
  service: string;
  /** Port 0 takes a free one; `RunningServer` says which. */
  listen: { host: string; port: number };
  /** PEM. When given, the port speaks TLS only (1.2 or newer; HTTP/1.1 and HTTP/2 by ALPN) and refuses cleartext. */
  tls?: { cert: Buffer; key: Buffer };
  /** The services that reflection describes, health reports on, and whose `google.api.http` routes are served. */
  services: readonly DescService[];
  /** Registers the handlers of `services`. What is declared there and not implemented answers `unimplemented` NOT_SERVED. */
  routes: (router: ConnectRouter) => void;
  /** Run after validation, in this order: authentication comes here. */
  interceptors?: readonly Interceptor[];
  /** What /readyz and grpc.health.v1 report. */
  readiness: Readiness;
  /** Answers everything that is neither an RPC, nor a route, nor /livez or /readyz. */
  pages?: (request: Request, info: RequestInfo) => Response | Promise<Response>;
  /** CIDRs of proxies whose X-Forwarded-For is believed. */
  trustedProxies?: readonly string[];
  log: Logger;
  clock?: Clock;
  random?: RandomBytes;
  limits?: Partial<Limits>;
}

/** A server that accepts calls. */
export interface RunningServer {
  /** `http://` or `https://`, the host listened on and the real port. */
  url: string;
  host: string;
  port: number;
  /** Finishes what is in flight, answers new calls `unavailable` SHUTTING_DOWN, cuts what is left after `drainMs`. */
  close(): Promise<void>;
}

/** Starts a server; resolves when it listens, after logging `{"msg":"listening","url":…}`. */
export function serve(options: ServeOptions): Promise<RunningServer> {
  throw new Error(`not yet: ${options.service}`);
}
