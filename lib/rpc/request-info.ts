import { createContextKey } from "@connectrpc/connect";

import { randomId, type RandomBytes } from "../random.ts";
import { header, type NodeRequest } from "./node-http.ts";
import type { SourceAddress } from "./source-address.ts";

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

/** Reads a request's line and headers. A caller's own `x-request-id` is kept when it looks like an id. */
export function readRequestInfo(
  request: NodeRequest,
  parts: { sourceAddress: SourceAddress; random: RandomBytes },
): { info: RequestInfo; query: string } {
  const { path, query } = splitTarget(request.url ?? "/");
  const givenId = header(request, "x-request-id");
  const info = {
    requestId: givenId !== undefined && /^[A-Za-z0-9._-]{8,64}$/.test(givenId) ? givenId : randomId(parts.random),
    sourceAddress: parts.sourceAddress(request.socket.remoteAddress, header(request, "x-forwarded-for")),
    method: request.method ?? "",
    path,
    userAgent: (header(request, "user-agent") ?? "").slice(0, 512),
  };
  return { info, query };
}

/** HTTP/1.1 also allows the absolute form, `http://host/path?query` (RFC 9112 section 3.2.2). */
function splitTarget(target: string): { path: string; query: string } {
  const relative = target.replace(/^https?:\/\/[^/?]*/i, "");
  const mark = relative.indexOf("?");
  if (mark === -1) return { path: relative === "" ? "/" : relative, query: "" };
  return { path: mark === 0 ? "/" : relative.slice(0, mark), query: relative.slice(mark + 1) };
}
