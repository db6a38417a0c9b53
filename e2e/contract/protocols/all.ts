import type { DescMethodUnary } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";

import { routesOf } from "../routes.ts";
import { connectBinary, connectGet, connectJson, grpcWeb } from "./connect.ts";
import { grpc } from "./grpc.ts";
import { httpJson } from "./http.ts";
import type { Protocol } from "./protocol.ts";

/** Every way to call an RPC. The first is the one that all others are compared with. */
export type ProtocolsOf = (rpc: DescMethodUnary, baseUrl: string) => [reference: Protocol, ...others: Protocol[]];

/** All protocols, for the services in a descriptor set. */
export function allProtocols(image: Buffer): ProtocolsOf {
  const overGrpc = grpc(image);
  return (rpc, baseUrl) => [
    connectJson(rpc, baseUrl),
    connectBinary(rpc, baseUrl),
    ...(rpc.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS ? [connectGet(rpc, baseUrl)] : []),
    overGrpc(rpc, baseUrl),
    grpcWeb(rpc, baseUrl),
    ...routesOf(rpc).flatMap((route) => [
      httpJson(rpc, baseUrl, route, "snake_case"),
      httpJson(rpc, baseUrl, route, "camelCase"),
    ]),
  ];
}
