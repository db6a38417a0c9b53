import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** A request header, joined where it came more than once. */
export function header(request: NodeRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

/** Whether the connection ends with its request, or can be told to: HTTP/2 multiplexes and has no such header. */
export function isHttp1(request: NodeRequest): boolean {
  return request.httpVersionMajor === 1;
}

/** Ends an HTTP/1.1 connection after this response; does nothing to HTTP/2, where that header is forbidden. */
export function closeAfter({ request, response }: { request: NodeRequest; response: NodeResponse }): void {
  if (isHttp1(request) && !response.headersSent) response.setHeader("connection", "close");
}

/** The request's headers as the fetch standard has them, without HTTP/2's pseudo-headers. */
export function webHeaders(request: NodeRequest): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value === undefined || name.startsWith(":")) continue;
    for (const item of Array.isArray(value) ? value : [value]) headers.append(name, item);
  }
  return headers;
}
