import { type DescMethodUnary, fromBinary, toBinary } from "@bufbuild/protobuf";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { Client, credentials as channel, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { loadFileDescriptorSetFromBuffer, type MethodDefinition, type PackageDefinition } from "@grpc/proto-loader";

import { type Answer, refusalOf } from "./answer.ts";
import type { ProtocolFactory } from "./protocol.ts";

/**
 * gRPC by gRPC's own library for Node, which knows the services from the descriptor set alone: neither our generated code
 * nor Connect's has a part in what goes over the wire.
 */
export function grpc(image: Buffer): ProtocolFactory {
  const definitions = loadFileDescriptorSetFromBuffer(image, { keepCase: true });
  const clients = new Map<string, Client>();
  return (rpc, baseUrl) => {
    const client = clients.get(baseUrl) ?? new Client(new URL(baseUrl).host, channel.createInsecure());
    clients.set(baseUrl, client);
    const definition = definitionOf(definitions, rpc);
    return {
      name: "gRPC",
      call: async (message, credentials) => {
        // Decoded by protobufjs, sent by it, answered to it: only its own bytes come back to us.
        const request = definition.requestDeserialize(Buffer.from(toBinary(rpc.input, message)));
        const headers = await credentials({ method: "POST", url: baseUrl + definition.path });
        return await unary(client, definition, rpc, request, headers);
      },
    };
  };
}

/** Sends bytes that are perhaps no message at all. */
export async function sendGrpc(rpc: DescMethodUnary, baseUrl: string, bytes: Uint8Array): Promise<Answer> {
  const client = new Client(new URL(baseUrl).host, channel.createInsecure());
  const definition = {
    path: `/${rpc.parent.typeName}/${rpc.name}`,
    requestSerialize: (raw: object) => Buffer.from(raw as Uint8Array),
    responseDeserialize: (raw: Buffer): object => raw,
    responseSerialize: (raw: object) => raw as Buffer,
  };
  try {
    return await unary(client, definition, rpc, bytes, {});
  } finally {
    client.close();
  }
}

type Definition = Pick<
  MethodDefinition<object, object>,
  "path" | "requestSerialize" | "responseDeserialize" | "responseSerialize"
>;

function unary(
  client: Client,
  definition: Definition,
  rpc: DescMethodUnary,
  request: object,
  headers: Record<string, string>,
): Promise<Answer> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const { path, requestSerialize, responseDeserialize, responseSerialize } = definition;
  const deadline = { deadline: Date.now() + 20_000 };
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      deadline,
      (error, response) => {
        try {
          resolve(error === null ? success(rpc, responseSerialize(response!)) : refusalFrom(error));
        } catch (problem) {
          reject(problem instanceof Error ? problem : new Error(String(problem)));
        }
      },
    );
  });
}

function success(rpc: DescMethodUnary, bytes: Uint8Array): Answer {
  return { code: "ok", response: fromBinary(rpc.output, bytes) };
}

/** The details travel as a `google.rpc.Status` in a trailer; grpc-js leaves it to its user to read. */
function refusalFrom(error: ServiceError): Answer {
  const [details] = error.metadata.get("grpc-status-details-bin");
  const trailer = new Headers({ "grpc-status": String(error.code) });
  if (details instanceof Buffer) trailer.set("grpc-status-details-bin", details.toString("base64"));
  const found = findTrailerError(trailer);
  if (found === undefined) throw new Error(`gRPC: an error with status ${status[error.code]}`, { cause: error });
  if (details === undefined) return { ...refusalOf(found), message: error.details };
  const refusal = refusalOf(found);
  if (refusal.message !== error.details) {
    throw new Error(`gRPC: grpc-message says "${error.details}", grpc-status-details-bin "${refusal.message}"`);
  }
  return refusal;
}

function definitionOf(definitions: PackageDefinition, rpc: DescMethodUnary): MethodDefinition<object, object> {
  const service = definitions[rpc.parent.typeName] as Record<string, MethodDefinition<object, object>> | undefined;
  const definition = service?.[rpc.name];
  if (definition === undefined) throw new Error(`proto-loader found no ${rpc.toString()} in the descriptor set`);
  return definition;
}
