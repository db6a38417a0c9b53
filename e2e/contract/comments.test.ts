import type { DescFile } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";

import { buildContract } from "./descriptors.ts";

/** Something that the proto declares, and what the comment above it says. */
interface Documented {
  name: string;
  isField: boolean;
  comment: string;
}

const files = [...buildContract().registry.files].filter(({ proto }) => proto.package.startsWith("agentkeys."));
const documented = files.flatMap(readComments);

describe("the protos", () => {
  test("say of every service, RPC, message, field, enum and value what it is", () => {
    expect(documented.length).toBeGreaterThan(150);
    expect(documented.filter(({ comment }) => comment === "").map(({ name }) => name)).toEqual([]);
  });

  test("mark every token and secret as one", () => {
    const secrets = documented.filter(({ name, isField }) => isField && /(_jwt|_secret|\.jwt)$/.test(name));
    expect(secrets.length).toBeGreaterThan(5);
    expect(secrets.filter(({ comment }) => !/^Secret\b/.test(comment)).map(({ name }) => name)).toEqual([]);
  });
});

function readComments({ proto, messages, enums, services }: DescFile): Documented[] {
  const locations = proto.sourceCodeInfo?.location ?? [];
  const comments = new Map(locations.map(({ path, leadingComments }) => [path.join("."), leadingComments.trim()]));
  const at = (name: string, path: string, isField = false): Documented => ({
    name,
    isField,
    comment: comments.get(path) ?? "",
  });
  // The numbers are those of FileDescriptorProto and of what it consists of: 4 messages, 5 enums, 6 services; inside, 2.
  return [
    ...messages.flatMap(({ typeName, fields }, i) => [
      at(typeName, `4.${i}`),
      ...fields.map(({ name }, j) => at(`${typeName}.${name}`, `4.${i}.2.${j}`, true)),
    ]),
    ...enums.flatMap(({ typeName, values }, i) => [
      at(typeName, `5.${i}`),
      ...values.map(({ name }, j) => at(`${typeName}.${name}`, `5.${i}.2.${j}`)),
    ]),
    ...services.flatMap(({ typeName, methods }, i) => [
      at(typeName, `6.${i}`),
      ...methods.map(({ name }, j) => at(`${typeName}.${name}`, `6.${i}.2.${j}`)),
    ]),
  ];
}
