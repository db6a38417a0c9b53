import { parseContentType as connectType } from "@connectrpc/connect/protocol-connect";
import { parseContentType as grpcType } from "@connectrpc/connect/protocol-grpc";
import { parseContentType as grpcWebType } from "@connectrpc/connect/protocol-grpc-web";

/** How a call's messages are written. */
export interface WireFormat {
  protocol: "connect" | "grpc" | "grpc-web";
  codec: "proto" | "json";
  /** Whether each message is preceded by a flag byte and its length, as in all but unary Connect calls. */
  enveloped: boolean;
}

/** Reads the Content-Type of a call to an RPC of this kind; undefined when no protocol of ours sends that one to it. */
export function wireFormat(contentType: string, isUnary: boolean): WireFormat | undefined {
  const connect = connectType(contentType);
  if (connect !== undefined && connect.stream !== isUnary) {
    return { protocol: "connect", codec: connect.binary ? "proto" : "json", enveloped: connect.stream };
  }
  const grpc = grpcType(contentType);
  if (grpc !== undefined) return { protocol: "grpc", codec: grpc.binary ? "proto" : "json", enveloped: true };
  const grpcWeb = grpcWebType(contentType);
  if (grpcWeb !== undefined && !grpcWeb.text) {
    return { protocol: "grpc-web", codec: grpcWeb.binary ? "proto" : "json", enveloped: true };
  }
  return undefined;
}

/** The request headers in which each format names a message's compression. */
export function encodingHeader({ protocol, enveloped }: WireFormat): string {
  if (protocol !== "connect") return "grpc-encoding";
  return enveloped ? "connect-content-encoding" : "content-encoding";
}
