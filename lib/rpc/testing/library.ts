import { create, createFileRegistry, type DescService, setExtension } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
  MethodOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import { file_google_api_annotations, http } from "@agentkeys/gen/google/api/annotations_pb";
import { HttpRuleSchema } from "@agentkeys/gen/google/api/http_pb";
import type { MessageInitShape } from "@bufbuild/protobuf";

type Rule = MessageInitShape<typeof HttpRuleSchema>;

/**
 * `library.v1.Library`: routes of every form that google/api/http.proto allows, which our own protos do not use. Each RPC takes and
 * returns a `library.v1.Book`.
 */
export function libraryService(rules: Record<string, Rule>): DescService {
  const field = (name: string, number: number, type: Type, more: { typeName?: string; label?: Label } = {}) => ({
    name,
    number,
    type,
    label: more.label ?? Label.OPTIONAL,
    jsonName: name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
    ...(more.typeName !== undefined && { typeName: more.typeName }),
  });
  const file = create(FileDescriptorProtoSchema, {
    name: "library/v1/library.proto",
    package: "library.v1",
    syntax: "proto3",
    dependency: ["google/api/annotations.proto"],
    enumType: [
      {
        name: "Genre",
        value: [
          { name: "GENRE_UNSPECIFIED", number: 0 },
          { name: "GENRE_POETRY", number: 1 },
        ],
      },
    ],
    messageType: [
      {
        name: "Book",
        field: [
          field("shelf_name", 1, Type.STRING),
          field("title", 2, Type.STRING),
          field("pages", 3, Type.UINT32),
          field("lent", 4, Type.BOOL),
          field("genre", 5, Type.ENUM, { typeName: ".library.v1.Genre" }),
          field("tags", 6, Type.STRING, { label: Label.REPEATED }),
          field("author", 7, Type.MESSAGE, { typeName: ".library.v1.Author" }),
          field("isbn", 8, Type.INT64),
          field("cover", 9, Type.BYTES),
        ],
      },
      { name: "Author", field: [field("name", 1, Type.STRING), field("born_in", 2, Type.INT32)] },
    ],
    service: [
      {
        name: "Library",
        method: Object.entries(rules).map(([name, rule]) => {
          const options = create(MethodOptionsSchema);
          setExtension(options, http, create(HttpRuleSchema, rule));
          return { name, inputType: ".library.v1.Book", outputType: ".library.v1.Book", options };
        }),
      },
    ],
  });
  const known = [file_google_api_annotations, ...file_google_api_annotations.dependencies].flatMap((desc) => [
    desc,
    ...desc.dependencies,
  ]);
  const registry = createFileRegistry(file, (name) => known.find(({ proto }) => proto.name === name));
  const service = registry.getService("library.v1.Library");
  if (service === undefined) throw new Error("library.v1.Library is not in its own file");
  return service;
}
