import {
  type DescField,
  type DescMessage,
  fromBinary,
  fromJson,
  fromJsonString,
  type JsonObject,
  type JsonValue,
  ScalarType,
} from "@bufbuild/protobuf";
import { isFieldError } from "@bufbuild/protobuf/reflect";

import { ErrorReason } from "../failure.ts";
import { refusal } from "./wire-error.ts";

/**
 * Throws INVALID_REQUEST, in our words, for bytes that Connect could not decode as this message. Connect itself would repeat
 * the parser's text, which quotes what was sent, and call an undecodable binary message an error of the server's. Unknown
 * fields are no fault.
 */
export function assertDecodable(message: DescMessage, codec: "proto" | "json", bytes: Uint8Array): void {
  if (codec === "json") {
    assertJson(message, bytes);
    return;
  }
  try {
    fromBinary(message, bytes);
  } catch {
    throw refusal(ErrorReason.INVALID_REQUEST, `The request is not a binary ${message.typeName}.`);
  }
}

/** Reads JSON in UTF-8, or throws INVALID_REQUEST. */
export function parseJson(bytes: Uint8Array): JsonValue {
  try {
    return JSON.parse(utf8.decode(bytes)) as JsonValue;
  } catch {
    throw refusal(ErrorReason.INVALID_REQUEST, "The request body is not JSON in UTF-8.");
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function assertJson(message: DescMessage, bytes: Uint8Array): void {
  try {
    fromJsonString(message, utf8.decode(bytes), { ignoreUnknownFields: true });
  } catch (error) {
    const json = fieldOf(error) === undefined ? parseJson(bytes) : undefined;
    const field = fieldOf(error) ?? unreadableField(message, json);
    if (field !== undefined) {
      throw refusal(ErrorReason.INVALID_REQUEST, `${field.name}: must be ${expectation(field)}, and be given once.`);
    }
    throw refusal(
      ErrorReason.INVALID_REQUEST,
      isObject(json)
        ? `The request body is not the JSON of ${message.typeName}: a key comes twice, or a value in it cannot be read.`
        : "The request body must be a JSON object.",
    );
  }
}

/** protobuf-es names the field of a scalar only; of the others it is the first that cannot be read by itself. */
function unreadableField(message: DescMessage, json: JsonValue | undefined): DescField | undefined {
  if (!isObject(json)) return undefined;
  const isUnreadable = (name: string): boolean => {
    const value = json[name];
    if (value === undefined) return false;
    try {
      fromJson(message, { [name]: value }, { ignoreUnknownFields: true });
      return false;
    } catch {
      return true;
    }
  };
  return message.fields.find((field) => isUnreadable(field.name) || isUnreadable(field.jsonName));
}

function isObject(json: JsonValue | undefined): json is JsonObject {
  return json !== null && typeof json === "object" && !Array.isArray(json);
}

function fieldOf(error: unknown): DescField | undefined {
  const source = isFieldError(error) ? error : error instanceof Error ? error.cause : undefined;
  const part = isFieldError(source) ? source.field() : undefined;
  return part?.kind === "field" ? part : undefined;
}

/** What the JSON of a field must be (the ProtoJSON format). */
function expectation(field: DescField): string {
  switch (field.fieldKind) {
    case "list":
      return "a JSON array of values of its type";
    case "map":
      return "a JSON object with values of its type";
    case "message":
      return `the JSON of ${field.message.typeName}`;
    case "enum":
      return `the name of a value of ${field.enum.typeName}`;
    case "scalar":
      return scalarNames[field.scalar];
  }
}

const integer32 = "a whole number of 32 bits";
const integer64 = "a whole number of 64 bits, as a string";
const scalarNames: Record<ScalarType, string> = {
  [ScalarType.STRING]: "a string of well-formed text",
  [ScalarType.BYTES]: "a string of base64",
  [ScalarType.BOOL]: "true or false",
  [ScalarType.DOUBLE]: "a number",
  [ScalarType.FLOAT]: "a number",
  [ScalarType.INT32]: integer32,
  [ScalarType.SINT32]: integer32,
  [ScalarType.SFIXED32]: integer32,
  [ScalarType.UINT32]: `${integer32}, not negative`,
  [ScalarType.FIXED32]: `${integer32}, not negative`,
  [ScalarType.INT64]: integer64,
  [ScalarType.SINT64]: integer64,
  [ScalarType.SFIXED64]: integer64,
  [ScalarType.UINT64]: `${integer64}, not negative`,
  [ScalarType.FIXED64]: `${integer64}, not negative`,
};
