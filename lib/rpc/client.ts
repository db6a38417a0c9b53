import type { ClientHttp2Stream, ClientSessionRequestOptions, OutgoingHttpHeaders } from "node:http2";

import type { Interceptor, Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

/** How a client calls a server. */
export interface TransportOptions {
  /** Run in this order around every call. */
  interceptors?: readonly Interceptor[];
  /** The deadline of a call that sets none of its own, in milliseconds. Default 30 s. */
  timeoutMs?: number;
  /** Who opens connections, and decides which request goes out on which. Absent: HTTP/1.1, its connections kept alive. */
  connections?: Http2Connections;
}

/** HTTP/2 connections to one server. */
export interface Http2Connections {
  /** The server's origin, for example `https://keys.example.com`: requests to others are refused. */
  authority: string;
  request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: ClientSessionRequestOptions,
  ): Promise<ClientHttp2Stream>;
}

/** No answer of ours is anywhere near as large; what a hostile server sends is not to fill the memory. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** A Connect transport to the server at `baseUrl` (binary protobuf). */
export function connectTransport(baseUrl: string, options: TransportOptions = {}): Transport {
  const { connections } = options;
  const common = {
    baseUrl,
    interceptors: [...(options.interceptors ?? [])],
    defaultTimeoutMs: options.timeoutMs ?? 30_000,
    readMaxBytes: MAX_ANSWER_BYTES,
  };
  if (connections === undefined) return createConnectTransport({ ...common, httpVersion: "1.1" });
  return createConnectTransport({
    ...common,
    httpVersion: "2",
    sessionManager: {
      authority: connections.authority,
      request: (...args) => connections.request(...args),
      notifyResponseByteRead: () => undefined,
    },
  });
}
