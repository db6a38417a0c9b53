import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { errorFromJson } from "@connectrpc/connect/protocol-connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";

import { httpBindings } from "../http-rule.ts";

/** One way to call an RPC. A failed call rejects with a ConnectError whose details are those of the wire. */
export interface Protocol {
  name: string;
  call: <I extends DescMessage, O extends DescMessage>(
    url: string,
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    options?: { timeoutMs?: number; headers?: Record<string, string> },
  ) => Promise<MessageShape<O>>;
}

/** Every way that our servers answer. */
export const protocols: readonly Protocol[] = [
  overTransport("Connect JSON on HTTP/1.1", (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  ),
  overTransport("Connect binary on HTTP/1.1", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" })),
  overTransport("Connect JSON on HTTP/2", (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: false }),
  ),
  overTransport("Connect binary on HTTP/2", (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" })),
  overTransport("gRPC-Web on HTTP/1.1", (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })),
  overTransport("gRPC-Web JSON on HTTP/2", (baseUrl) =>
    createGrpcWebTransport({ baseUrl, httpVersion: "2", useBinaryFormat: false }),
  ),
  overTransport("gRPC by connect-node", (baseUrl) => createGrpcTransport({ baseUrl })),
  { name: "gRPC by grpc-js", call: callGrpcJs },
  { name: "the HTTP route", call: callRoute },
];

function overTransport(name: string, connect: (baseUrl: string) => Transport): Protocol {
  return {
    name,
    call: async (url, method, input, options = {}) => {
      const { timeoutMs, headers } = options;
      const answer = await connect(url).unary(method, undefined, timeoutMs, headers, input);
      return answer.message;
    },
  };
}

async function callGrpcJs<I extends DescMessage, O extends DescMessage>(
  url: string,
  method: DescMethodUnary<I, O>,
  input: MessageInitShape<I>,
  options: { timeoutMs?: number; headers?: Record<string, string> } = {},
): Promise<MessageShape<O>> {
  const client = new Client(new URL(url).host, credentials.createInsecure());
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(options.headers ?? {})) metadata.set(name, value);
  try {
    return await new Promise<MessageShape<O>>((resolve, reject) => {
      client.makeUnaryRequest(
        `/${method.parent.typeName}/${method.name}`,
        (message: MessageInitShape<I>) => Buffer.from(toBinary(method.input, create(method.input, message))),
        (bytes) => fromBinary(method.output, bytes),
        input,
        metadata,
        options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs },
        (error, message) => {
          if (error === null && message !== undefined) resolve(message);
          else reject(error === null ? new Error("neither an error nor a message") : connectErrorOf(error));
        },
      );
    });
  } finally {
    client.close();
  }
}

/** grpc-js leaves the details undecoded in a trailer. The message is what it shows its own users. */
function connectErrorOf({ code, details, metadata }: ServiceError): ConnectError {
  const trailer = new Headers({ "grpc-status": String(code) });
  const [status] = metadata.get("grpc-status-details-bin");
  if (Buffer.isBuffer(status)) trailer.set("grpc-status-details-bin", status.toString("base64"));
  const error = findTrailerError(trailer) ?? new ConnectError("no status");
  return Object.assign(new ConnectError(details, error.code), { details: error.details });
}

async function callRoute<I extends DescMessage, O extends DescMessage>(
  url: string,
  method: DescMethodUnary<I, O>,
  input: MessageInitShape<I>,
  options: { timeoutMs?: number; headers?: Record<string, string> } = {},
): Promise<MessageShape<O>> {
  const [binding] = httpBindings(method);
  if (binding === undefined) throw new Error(`${method.name} has no route`);
  const json = toJson(method.input, create(method.input, input), { useProtoFieldName: true }) as Record<
    string,
    JsonValue
  >;
  const hasBody = binding.body === "*";
  const query = new URLSearchParams(
    Object.entries(json).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );
  const response = await fetch(`${url}${binding.template}${hasBody ? "" : `?${query}`}`, {
    method: binding.verb,
    headers: {
      ...(hasBody && { "content-type": "application/json" }),
      ...(options.timeoutMs !== undefined && { "connect-timeout-ms": String(options.timeoutMs) }),
      ...options.headers,
    },
    ...(hasBody && { body: JSON.stringify(json) }),
  });
  const body = (await response.json()) as JsonValue;
  if (response.ok) return fromJson(method.output, body);
  throw errorFromJson(body, response.headers, new ConnectError("not an error in Connect's shape", Code.Unknown));
}
