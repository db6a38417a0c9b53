import type { DescMessage, JsonValue, Message } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";

/**
 * What a message consists of, whatever its values are: the path and JSON type of everything in it. Two answers to the same
 * call have the same shape, though their ids, times and tokens differ; and however long their lists are, as long as they are not empty.
 */
export function shapeOf(schema: DescMessage, message: Message): string[] {
  const json = toJson(schema, message, { alwaysEmitImplicit: true, useProtoFieldName: true });
  return [...new Set(walk("", json))].sort();
}

function walk(path: string, value: JsonValue): string[] {
  if (Array.isArray(value))
    return value.length === 0 ? [`${path}[]`] : value.flatMap((item) => walk(`${path}[]`, item));
  if (value !== null && typeof value === "object") {
    return Object.entries(value).flatMap(([name, inner]) => walk(path === "" ? name : `${path}.${name}`, inner));
  }
  return [`${path}: ${value === "" ? "empty string" : typeof value}`];
}
