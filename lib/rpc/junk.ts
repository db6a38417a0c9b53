import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";

import type { NodeResponse } from "./node-http.ts";

/** What Node's HTTP/1.1 parser calls the ways in which a request can be unreadable. */
const answers: Record<string, { status: number; code: string; message: string }> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, code: "deadline_exceeded", message: "The request did not arrive in time." },
  HPE_HEADER_OVERFLOW: {
    status: 431,
    code: "invalid_argument",
    message: "The request's headers are larger than 16 KiB.",
  },
};
const unreadable = { status: 400, code: "invalid_argument", message: "This is not an HTTP request that can be read." };

/**
 * Answers bytes that are no HTTP/1.1 request (another protocol, a body cut short, a request that came too slowly) and closes the connection. Where a
 * response is half sent it only closes: the client must not take the error for the rest of that response.
 */
export function answerBadRequest(
  error: Error & { code?: string },
  socket: Socket,
  connections: { responsesOn(socket: Socket): ReadonlySet<NodeResponse> },
): void {
  const halfSent = [...connections.responsesOn(socket)].some((response) => response.headersSent);
  if (!socket.writable || halfSent) {
    socket.destroy();
    return;
  }
  const { status, code, message } = answers[error.code ?? ""] ?? unreadable;
  const body = JSON.stringify({ code, message });
  const reason = STATUS_CODES[status] ?? "";
  socket.write(
    `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  socket.destroySoon();
}
