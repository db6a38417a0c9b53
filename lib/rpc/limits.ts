/** How much and how long a caller may take. */
export interface Limits {
  /** The largest request body in bytes, and the largest message in it after decompression. Default 1 MiB. */
  bodyBytes: number;
  /** Milliseconds from the start of an HTTP/1.1 request to the end of its headers. Default 10 s. */
  headersTimeoutMs: number;
  /** Milliseconds from the end of a request's headers to the end of its body. Default 30 s. */
  requestTimeoutMs: number;
  /** The longest that a call may run, in milliseconds; a client's own timeout may be shorter. Default 60 s. */
  maxTimeoutMs: number;
  /** How long `close` waits for calls in flight before it cuts them, in milliseconds. Default 10 s. */
  drainMs: number;
  /** Milliseconds from the connection to the bytes that tell which protocol it speaks, or to the end of the TLS handshake. Default 10 s. */
  firstByteTimeoutMs: number;
  /** How many connections there may be at a time, of one source (an IPv4 address, an IPv6 /64) and of all. Default 10,000: no difference is made. */
  connections: { ofOne: number; ofAll: number };
}

export const defaultLimits: Limits = {
  bodyBytes: 1024 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  maxTimeoutMs: 60_000,
  drainMs: 10_000,
  firstByteTimeoutMs: 10_000,
  connections: { ofOne: 10_000, ofAll: 10_000 },
};
