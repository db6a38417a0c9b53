import { type DescField, type DescMessage, type JsonObject, type JsonValue, ScalarType } from "@bufbuild/protobuf";

import { ErrorReason } from "../failure.ts";
import { refusal } from "./wire-error.ts";

/**
 * Puts texts from a URL into the JSON of a message, at a path of field names (proto or JSON names). A list takes them all, any other field
 * takes one. What names no field is ignored, as unknown fields in JSON are.
 */
export function setFromText(json: JsonObject, message: DescMessage, path: readonly string[], texts: string[]): void {
  const [name = "", ...rest] = path;
  const field = message.fields.find((candidate) => candidate.name === name || candidate.jsonName === name);
  if (field === undefined) return;
  const present = json[field.name] ?? json[field.jsonName];
  if (field.jsonName !== field.name) Reflect.deleteProperty(json, field.jsonName);
  if (rest.length > 0) {
    if (field.fieldKind !== "message") return;
    const inner: JsonObject = isObject(present) ? present : {};
    json[field.name] = inner;
    setFromText(inner, field.message, rest, texts);
  } else if (field.fieldKind === "list") {
    json[field.name] = texts.map((text) => valueOf(field, text));
  } else if (texts.length > 1) {
    throw refusal(ErrorReason.INVALID_REQUEST, `${field.name}: is given ${texts.length} times.`);
  } else {
    json[field.name] = valueOf(field, texts[0] ?? "");
  }
}

/** ProtoJSON reads numbers and bytes from strings; booleans and the numbers of enum values need a hand. */
function valueOf(field: DescField, text: string): JsonValue {
  if (field.enum !== undefined && /^-?\d+$/.test(text)) return Number(text);
  if (field.scalar === ScalarType.BOOL && (text === "true" || text === "false")) return text === "true";
  return text;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
