import type { Interceptor, Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

/** How a client calls a server. */
export interface TransportOptions {
  /** Run in this order around every call. */
  interceptors?: readonly Interceptor[];
  /** The deadline of a call that sets none of its own, in milliseconds. Default 30 s. */
  timeoutMs?: number;
}

/** No answer of ours is anywhere near as large; what a hostile server sends is not to fill the memory. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/** A Connect transport to the server at `baseUrl` (binary protobuf over HTTP/1.1, connections kept alive). */
export function connectTransport(baseUrl: string, options: TransportOptions = {}): Transport {
  return createConnectTransport({
    baseUrl,
    httpVersion: "1.1",
    interceptors: [...(options.interceptors ?? [])],
    defaultTimeoutMs: options.timeoutMs ?? 30_000,
    readMaxBytes: MAX_ANSWER_BYTES,
  });
}
