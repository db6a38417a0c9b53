import type { DescMethodUnary, Message } from "@bufbuild/protobuf";
import { ConnectError, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";

import { type Answer, refusalOf } from "./answer.ts";
import type { Credentials, Protocol, ProtocolFactory } from "./protocol.ts";

/** The Connect protocol with binary messages over HTTP/2, by Connect's own client. */
export const connectBinary = overTransport("Connect binary", "POST", (baseUrl) =>
  createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true }),
);

/** The Connect protocol with JSON messages over HTTP/1.1: what curl and browsers send. */
export const connectJson = overTransport("Connect JSON", "POST", (baseUrl) =>
  createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
);

/** Connect's GET, for RPCs without side effects. */
export const connectGet = overTransport("Connect GET", "GET", (baseUrl) =>
  createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false, useHttpGet: true }),
);

/** gRPC-Web with binary messages over HTTP/1.1. */
export const grpcWeb = overTransport("gRPC-Web", "POST", (baseUrl) =>
  createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
);

/** One transport per server: its connections serve all the tests. */
function overTransport(name: string, method: string, connect: (baseUrl: string) => Transport): ProtocolFactory {
  const transports = new Map<string, Transport>();
  return (rpc, baseUrl): Protocol => {
    const transport = transports.get(baseUrl) ?? connect(baseUrl);
    transports.set(baseUrl, transport);
    const url = `${baseUrl}/${rpc.parent.typeName}/${rpc.name}`;
    return {
      name,
      call: async (message, credentials) => callOver(transport, rpc, message, await credentials({ method, url })),
    };
  };
}

async function callOver(
  transport: Transport,
  rpc: DescMethodUnary,
  message: Message,
  headers: Awaited<ReturnType<Credentials>>,
): Promise<Answer> {
  try {
    const { message: response } = await transport.unary(rpc, undefined, 20_000, headers, message);
    return { code: "ok", response };
  } catch (error) {
    if (error instanceof ConnectError) return refusalOf(error);
    throw error;
  }
}
