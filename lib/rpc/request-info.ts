import { createContextKey } from "@connectrpc/connect";

/** What is known of the HTTP request that carries a call, whatever its protocol. */
export interface RequestInfo {
  /** Names this request in logs, audit events and the `x-request-id` response header. */
  requestId: string;
  /** The caller's IP address: the socket's, or X-Forwarded-For's where the socket is a trusted proxy. */
  sourceAddress: string;
  /** The HTTP method as sent. */
  method: string;
  /** The path as sent, without the query: what a DPoP proof's `htu` names (RFC 9449 section 4.2). */
  path: string;
  /** The User-Agent header, empty where there is none; attacker-controlled text of at most 512 characters. */
  userAgent: string;
}

/** The `RequestInfo` of a call, in `HandlerContext.values`: set for every RPC, also one that came in by an HTTP route. */
export const requestInfo = createContextKey<RequestInfo>(
  { requestId: "", sourceAddress: "", method: "", path: "", userAgent: "" },
  { description: "what is known of the HTTP request" },
);
