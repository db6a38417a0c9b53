import { create, createFileRegistry, type DescMessage, type MessageInitShape, setExtension } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import {
  field,
  FieldRulesSchema,
  file_buf_validate_validate,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/** The descriptor of `made.up.Thing`, a message with one field, `color`, and the rules; as if buf had compiled it. */
export function madeUpMessage(
  rules: MessageInitShape<typeof FieldRulesSchema>,
  {
    type = FieldDescriptorProto_Type.STRING,
    label = FieldDescriptorProto_Label.OPTIONAL,
  }: { type?: FieldDescriptorProto_Type; label?: FieldDescriptorProto_Label } = {},
): DescMessage {
  const options = create(FieldOptionsSchema);
  setExtension(options, field, create(FieldRulesSchema, rules));
  const file = create(FileDescriptorProtoSchema, {
    name: "made_up.proto",
    package: "made.up",
    syntax: "proto3",
    dependency: [file_buf_validate_validate.proto.name],
    messageType: [
      {
        name: "Thing",
        field: [{ name: "color", jsonName: "color", number: 1, label, type, options }],
      },
    ],
  });
  const registry = createFileRegistry(file, (name) =>
    name === file_buf_validate_validate.proto.name ? file_buf_validate_validate : undefined,
  );
  return registry.getMessage("made.up.Thing")!;
}
