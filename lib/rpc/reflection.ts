import {
  createRegistry,
  type DescExtension,
  type DescFile,
  type DescService,
  type Registry,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { ServerReflection, type ServerReflectionRequest } from "@agentkeys/gen/grpc/reflection/v1/reflection_pb";

/** Serves grpc.reflection.v1 for these services out of their generated descriptors, so that tools need no proto files. */
export function reflect(services: readonly DescService[]): (router: ConnectRouter) => void {
  const files = [...new Set(services.flatMap(({ file }) => withDependencies(file)))];
  const registry = createRegistry(...files);
  const extensions = [...registry].filter((type) => type.kind === "extension");
  return (router) => {
    router.service(ServerReflection, {
      async *serverReflectionInfo(requests) {
        for await (const request of requests) {
          yield {
            validHost: request.host,
            originalRequest: request,
            messageResponse: answer(request, { services, files, registry, extensions }),
          };
        }
      },
    });
  };
}

interface Schema {
  services: readonly DescService[];
  files: readonly DescFile[];
  registry: Registry;
  extensions: readonly DescExtension[];
}

function answer({ messageRequest: request }: ServerReflectionRequest, schema: Schema) {
  switch (request.case) {
    case "listServices": {
      const service = schema.services.map(({ typeName }) => ({ name: typeName }));
      return { case: "listServicesResponse" as const, value: { service } };
    }
    case "fileByFilename":
      return descriptorOf(
        schema.files.find(({ proto }) => proto.name === request.value),
        request.value,
      );
    case "fileContainingSymbol":
      return descriptorOf(fileOfSymbol(schema.registry, request.value), request.value);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = request.value;
      const extension = schema.extensions.find(
        ({ extendee, number }) => extendee.typeName === containingType && number === extensionNumber,
      );
      return descriptorOf(extension?.file, `extension ${extensionNumber} of ${containingType}`);
    }
    case "allExtensionNumbersOfType": {
      const baseTypeName = request.value;
      if (schema.registry.getMessage(baseTypeName) === undefined)
        return failed(Code.NotFound, `${baseTypeName} not found`);
      const own = schema.extensions.filter(({ extendee }) => extendee.typeName === baseTypeName);
      const extensionNumber = own.map(({ number }) => number);
      return { case: "allExtensionNumbersResponse" as const, value: { baseTypeName, extensionNumber } };
    }
    case undefined:
      return failed(Code.InvalidArgument, "the request asks for nothing");
  }
}

function descriptorOf(file: DescFile | undefined, name: string) {
  if (file === undefined) return failed(Code.NotFound, `${name} not found`);
  const fileDescriptorProto = withDependencies(file).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse" as const, value: { fileDescriptorProto } };
}

function failed(errorCode: Code, errorMessage: string) {
  return { case: "errorResponse" as const, value: { errorCode, errorMessage } };
}

/** A type by its full name, or a method, field, oneof or enum value by its parent's name and its own. */
function fileOfSymbol(registry: Registry, name: string): DescFile | undefined {
  const type = registry.get(name);
  if (type !== undefined) return type.file;
  const dot = name.lastIndexOf(".");
  const parent = registry.get(name.slice(0, Math.max(0, dot)));
  const member = name.slice(dot + 1);
  const members =
    parent?.kind === "service"
      ? parent.methods
      : parent?.kind === "message"
        ? [...parent.fields, ...parent.oneofs]
        : parent?.kind === "enum"
          ? parent.values
          : [];
  return members.some((candidate) => candidate.name === member) ? parent?.file : undefined;
}

function withDependencies(file: DescFile, seen = new Set<DescFile>()): DescFile[] {
  if (seen.has(file)) return [];
  seen.add(file);
  for (const dependency of file.dependencies) withDependencies(dependency, seen);
  return [...seen];
}
