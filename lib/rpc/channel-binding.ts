import type { TLSSocket } from "node:tls";

import { createContextKey } from "@connectrpc/connect";

import type { NodeRequest } from "./node-http.ts";

/** What ties an answer to the very TLS connection that it is sent on. */
export interface ChannelBinding {
  /** The connection's `tls-exporter` value, 32 bytes: both ends have the same, and no other connection has it (RFC 9266). */
  tlsExporter(): Buffer;
}

/** The binding of the connection that carries a call; `undefined` where that is cleartext, or older than TLS 1.3. */
export const channelBinding = createContextKey<ChannelBinding | undefined>(undefined, {
  description: "what ties an answer to its TLS connection",
});

/** RFC 9266 section 2: the label, no context, 32 bytes. Only TLS 1.3's needs no further precautions (section 5). */
export function tlsExporterOf(socket: Pick<TLSSocket, "exportKeyingMaterial">): Buffer {
  return socket.exportKeyingMaterial(32, "EXPORTER-Channel-Binding", Buffer.alloc(0));
}

export function channelBindingOf(request: NodeRequest): ChannelBinding | undefined {
  const socket = "stream" in request ? request.stream.session?.socket : request.socket;
  if (socket === undefined || !isSecure(socket) || socket.getProtocol() !== "TLSv1.3") return undefined;
  return { tlsExporter: () => tlsExporterOf(socket) };
}

/** Not by `instanceof`, nor by `in`: an HTTP/2 session hands out a stand-in for its socket. */
function isSecure(socket: object): socket is TLSSocket {
  return typeof (socket as { exportKeyingMaterial?: unknown }).exportKeyingMaterial === "function";
}
