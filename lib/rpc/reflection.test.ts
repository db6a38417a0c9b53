import {
  ServerReflection,
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from "@agentkeys/gen/grpc/reflection/v1/reflection_pb";
import { createFileRegistry, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { failureIn } from "./testing/raw-http.ts";
import { startToy, type ToyServer } from "./testing/toy-server.ts";

type Question = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"]>;

let toy: ToyServer;
beforeAll(async () => (toy = await startToy()));
afterAll(() => toy.close());

async function ask(...questions: Question[]): Promise<ServerReflectionResponse["messageResponse"][]> {
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: toy.url }));
  async function* requests() {
    for (const messageRequest of questions) yield await Promise.resolve({ host: "here", messageRequest });
  }
  const answers: ServerReflectionResponse["messageResponse"][] = [];
  for await (const { messageResponse } of client.serverReflectionInfo(requests())) answers.push(messageResponse);
  return answers;
}

/** The names of the files in an answer. */
function filesIn(answer: ServerReflectionResponse["messageResponse"] | undefined): string[] {
  if (answer?.case !== "fileDescriptorResponse") throw new Error(`no files but ${String(answer?.case)}`);
  return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
}

test("every service is listed", async () => {
  const [answer] = await ask({ case: "listServices", value: "" });
  expect(answer).toMatchObject({
    case: "listServicesResponse",
    value: {
      service: [
        { name: "agentkeys.keys.v1.KeyService" },
        { name: "agentkeys.broker.v1.AccountService" },
        { name: "grpc.health.v1.Health" },
        { name: "grpc.reflection.v1.ServerReflection" },
      ],
    },
  });
});

test.each([
  ["a service", "agentkeys.keys.v1.KeyService"],
  ["a method", "agentkeys.keys.v1.KeyService.SignMessage"],
  ["a message", "agentkeys.keys.v1.SignMessageRequest"],
  ["a field", "agentkeys.keys.v1.SignMessageRequest.message_hex"],
])("the file of %s is found by its name", async (_, value) => {
  const [answer] = await ask({ case: "fileContainingSymbol", value });
  expect(filesIn(answer)[0]).toBe("agentkeys/keys/v1/key_service.proto");
});

test.each([
  ["an enum", "agentkeys.broker.v1.SessionKind", "agentkeys/broker/v1/account_service.proto"],
  [
    "an enum's value",
    "agentkeys.broker.v1.SessionKind.SESSION_KIND_WALLET",
    "agentkeys/broker/v1/account_service.proto",
  ],
  ["a oneof", "google.api.HttpRule.pattern", "google/api/http.proto"],
  ["an extension", "agentkeys.access.v1.access", "agentkeys/access/v1/access.proto"],
])("so is that of %s", async (_, value, file) => {
  const [answer] = await ask({ case: "fileContainingSymbol", value });
  expect(filesIn(answer)[0]).toBe(file);
});

test("a file comes with all that it imports, so that a client can build it", async () => {
  const [answer] = await ask({ case: "fileByFilename", value: "agentkeys/keys/v1/key_service.proto" });
  if (answer?.case !== "fileDescriptorResponse") throw new Error("no files");
  const [file, ...imported] = answer.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
  const registry = createFileRegistry(file!, (name) => imported.find((candidate) => candidate.name === name));
  expect(registry.getService("agentkeys.keys.v1.KeyService")?.methods.map(({ name }) => name)).toEqual([
    "DeriveAddress",
    "SignMessage",
    "GetAttestation",
    "ActivateCredential",
  ]);
});

test("extensions are found by the message that they extend and their number", async () => {
  const [file, numbers] = await ask(
    {
      case: "fileContainingExtension",
      value: { containingType: "google.protobuf.MethodOptions", extensionNumber: 50721 },
    },
    { case: "allExtensionNumbersOfType", value: "google.protobuf.MethodOptions" },
  );
  expect(filesIn(file)[0]).toBe("agentkeys/access/v1/access.proto");
  expect(numbers).toMatchObject({
    case: "allExtensionNumbersResponse",
    value: { extensionNumber: expect.arrayContaining([50721, 72295728]) as number[] },
  });
});

describe("what is not there", () => {
  test.each<[string, Question]>([
    ["a symbol", { case: "fileContainingSymbol", value: "agentkeys.keys.v1.Nothing" }],
    ["a member", { case: "fileContainingSymbol", value: "agentkeys.keys.v1.KeyService.Nothing" }],
    ["a name without a dot", { case: "fileContainingSymbol", value: "nothing" }],
    ["a file", { case: "fileByFilename", value: "nothing.proto" }],
    ["an extension", { case: "fileContainingExtension", value: { containingType: "nothing", extensionNumber: 1 } }],
    ["a type", { case: "allExtensionNumbersOfType", value: "nothing" }],
  ])("%s is answered in the stream, which goes on", async (_, question) => {
    const [missing, next] = await ask(question, { case: "listServices", value: "" });
    expect(missing).toMatchObject({ case: "errorResponse", value: { errorCode: Code.NotFound } });
    expect(next?.case).toBe("listServicesResponse");
  });
});

test("an empty question is an error in the stream", async () => {
  const [answer] = await ask({ case: undefined });
  expect(answer).toMatchObject({ case: "errorResponse", value: { errorCode: Code.InvalidArgument } });
});

test("HTTP/1.1 cannot carry it, and is told so", async () => {
  const response = await fetch(`${toy.url}/grpc.reflection.v1.ServerReflection/ServerReflectionInfo`, {
    method: "POST",
    headers: { "content-type": "application/connect+json" },
    body: "",
  });
  expect([response.status, response.headers.get("connection")]).toEqual([505, "close"]);
  expect(failureIn(await response.json()).message).toBe("This call streams both ways and needs HTTP/2.");
});
