import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import {
  createFileRegistry,
  type DescMethod,
  type DescMethodUnary,
  type DescService,
  type FileRegistry,
  fromBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/** The protos as buf compiles them, not as our generated code has them. */
export interface Contract {
  /** A serialised `google.protobuf.FileDescriptorSet`, with the protos' comments. */
  image: Buffer;
  registry: FileRegistry;
  /** Every service of the project. */
  services: DescService[];
}

/** The project's folder: buf finds its workspace there. */
export const projectRoot = fileURLToPath(new URL("../..", import.meta.url));

/** Compiles the project's protos. */
export function buildContract(): Contract {
  return contractOf(runBuf(["build", "-o", "-#format=binpb"]), "agentkeys.");
}

/** Compiles `sample/`, the service that only tests serve. */
export function buildSampleContract(): Contract {
  const paths = ["proto", "third_party/googleapis", "third_party/protovalidate", "e2e/contract/sample/proto"];
  const config = { version: "v2", modules: paths.map((path) => ({ path })) };
  return contractOf(runBuf(["build", ".", "--config", JSON.stringify(config), "-o", "-#format=binpb"]), "sample.");
}

/** Every RPC of the services. Throws when one of them streams: the contract tests call unary RPCs. */
export function rpcsOf(services: readonly DescService[]): DescMethodUnary[] {
  return services.flatMap(({ methods }) => methods.map(asUnary));
}

/** `KeyService/SignMessage`. */
export function shortName(rpc: DescMethod): string {
  return `${rpc.parent.name}/${rpc.name}`;
}

function asUnary(rpc: DescMethod): DescMethodUnary {
  if (isUnary(rpc)) return rpc;
  throw new Error(`${rpc.toString()} streams, which the contract tests do not know`);
}

function isUnary(rpc: DescMethod): rpc is DescMethodUnary {
  return rpc.methodKind === "unary";
}

function contractOf(image: Buffer, prefix: string): Contract {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
  const services = [...registry].filter((desc) => desc.kind === "service" && desc.typeName.startsWith(prefix));
  return { image, registry, services: services as DescService[] };
}

/** Runs the buf that npm installed. Throws with what buf wrote on stderr. */
function runBuf(args: readonly string[]): Buffer {
  return execFileSync(bufPath, args, {
    cwd: projectRoot,
    maxBuffer: 64 * 1024 * 1024,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** The buf that npm installed. */
export const bufPath = `${projectRoot}node_modules/.bin/buf`;
