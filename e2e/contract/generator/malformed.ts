import {
  type DescField,
  type DescMessage,
  type JsonObject,
  type JsonValue,
  type Message,
  ScalarType,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** A body that cannot be read as a message of the type. */
export interface Malformed {
  title: string;
  bytes: Uint8Array;
  /** The field that the answer must name; absent when the body as a whole is at fault. */
  field?: string;
}

/** JSON bodies, in UTF-8 or meant to be. `base` is a message that can be read. */
export function malformedJson(desc: DescMessage, base: Message): Malformed[] {
  const json = toJson(desc, base, { useProtoFieldName: true }) as JsonObject;
  const perField = desc.fields.flatMap((field) =>
    wrongJson(field).map((wrong) => ({
      title: `${field.name} = ${wrong}`,
      bytes: Buffer.from(replaceIn(json, field.name, wrong)),
      field: field.name,
    })),
  );
  const twice = desc.fields.flatMap((field) => {
    const value = json[field.name];
    if (field.jsonName === field.name || value === undefined) return [];
    const both = JSON.stringify({ ...json, [field.jsonName]: value });
    return [{ title: `${field.name} and ${field.jsonName}`, bytes: Buffer.from(both), field: field.name }];
  });
  return [
    ...perField,
    ...twice,
    ...noObjects.map((text) => ({ title: `the body ${text}`, bytes: Buffer.from(text) })),
    ...notUtf8,
  ];
}

/** Binary bodies. Each begins with what can be read, so that its end or its text is the only fault. */
export function malformedBinary(desc: DescMessage, base: Message): Malformed[] {
  const bytes = toBinary(desc, base);
  const endless = new BinaryWriter().tag(unusedField(desc), WireType.LengthDelimited).uint32(1000).finish();
  const badText = desc.fields.filter((field) => field.scalar === ScalarType.STRING && field.fieldKind === "scalar");
  return [
    { title: "a field longer than the message", bytes: Buffer.concat([bytes, endless, Buffer.from("abc")]) },
    { title: "a tag cut short", bytes: Buffer.concat([bytes, Uint8Array.of(0xff)]) },
    { title: "a wire type that there is none of", bytes: Buffer.concat([bytes, Uint8Array.of(0x0f)]) },
    ...badText.map((field) => ({
      title: `${field.name} is not UTF-8`,
      bytes: new BinaryWriter().tag(field.number, WireType.LengthDelimited).bytes(Uint8Array.of(0x61, 0xff)).finish(),
    })),
  ];
}

/** Query strings, for a route whose message stands there. */
export function malformedQuery(desc: DescMessage): Malformed[] {
  const singular = desc.fields.filter(({ fieldKind }) => fieldKind === "scalar" || fieldKind === "enum");
  const queryFor = (field: DescField, query: string): Malformed => ({
    title: query,
    bytes: Buffer.from(query),
    field: field.name,
  });
  return [
    ...singular.flatMap((field) => wrongTexts(field).map((text) => queryFor(field, `${field.name}=${text}`))),
    ...singular.map((field) => queryFor(field, `${field.name}=1&${field.name}=1`)),
    { title: "percent signs that encode nothing", bytes: Buffer.from("a=%zz") },
    { title: "percent signs that encode no UTF-8", bytes: Buffer.from("a=%ff") },
  ];
}

function wrongTexts({ scalar }: DescField): string[] {
  switch (scalar) {
    case undefined:
    case ScalarType.STRING:
      return [];
    case ScalarType.BYTES:
      return ["%25%25%25"];
    case ScalarType.BOOL:
      return ["yes", "1", ""];
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return ["abc", ""];
    default:
      return ["abc", "1.5", "99999999999999999999999", ""];
  }
}

/** The same message with an unknown field: it must make no difference. */
export function unknownJson(desc: DescMessage, base: Message): string {
  const json = toJson(desc, base, { useProtoFieldName: true }) as JsonObject;
  return JSON.stringify({ no_such_field: { deep: [1, null] }, ...json });
}

/** The same message with an unknown field: it must make no difference. */
export function unknownBinary(desc: DescMessage, base: Message): Uint8Array {
  const unknown = new BinaryWriter().tag(unusedField(desc), WireType.LengthDelimited).string("what is this?").finish();
  return Buffer.concat([toBinary(desc, base), unknown]);
}

function unusedField(desc: DescMessage): number {
  return Math.max(0, ...desc.fields.map((field) => field.number)) + 1;
}

/** As text, because some of it is what no JSON value of JavaScript can be. */
function replaceIn(json: JsonObject, name: string, value: string): string {
  const rest: JsonValue = Object.fromEntries(Object.entries(json).filter(([key]) => key !== name));
  const others = JSON.stringify(rest).slice(1, -1);
  return `{${others === "" ? "" : `${others},`}${JSON.stringify(name)}:${value}}`;
}

const noObjects = [" ", "null", "[]", "7", '"text"', "{", '{"a":}', "not json", "{}{}", "{'a':1}", "[{}]"];

const notUtf8: Malformed[] = [
  {
    title: "a body with a stray byte 0xff",
    bytes: Buffer.concat([Buffer.from('{"a":"'), Uint8Array.of(0xff), Buffer.from('"}')]),
  },
  { title: "a body in UTF-16", bytes: Buffer.from("\ufeff{}", "utf16le") },
];

function wrongJson(field: DescField): string[] {
  switch (field.fieldKind) {
    case "list":
      return ["{}", '"text"', "7", "[null]", "[[]]"];
    case "map":
      return ["[]", '"text"', "7"];
    case "message":
      return ["[]", '"text"', "7", "true"];
    case "enum":
      // Not the name of no value: parsers that ignore unknown fields take it for unset.
      return ["true", "1.5", "{}", "[]"];
    case "scalar":
      return wrongScalar(field.scalar);
  }
}

function wrongScalar(scalar: ScalarType): string[] {
  switch (scalar) {
    case ScalarType.STRING:
      return ["7", "true", "{}", "[]", '["text"]', '"\\ud800"'];
    case ScalarType.BYTES:
      return ["7", "true", "{}", "[]", '"%%%"'];
    case ScalarType.BOOL:
      return ["7", '"true"', "{}", "[]"];
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return ["true", '"text"', "{}", "[]"];
    default:
      return ["true", '"text"', "1.5", "1e30", '"99999999999999999999999"', "{}", "[]"];
  }
}
