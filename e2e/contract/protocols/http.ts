import {
  type DescMessage,
  type DescMethodUnary,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  toJson,
} from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { codeFromString, codeToHttpStatus, errorFromJson } from "@connectrpc/connect/protocol-connect";

import type { Route } from "../routes.ts";
import { type Answer, refusalOf } from "./answer.ts";
import type { Protocol } from "./protocol.ts";

/** How a request's JSON names its fields; the answer always has the proto's own names. */
export type FieldNames = "snake_case" | "camelCase";

/** Plain HTTP with JSON, along one of the RPC's routes. */
export function httpJson(rpc: DescMethodUnary, baseUrl: string, route: Route, names: FieldNames): Protocol {
  return {
    name: `${route.verb} ${route.path}, ${names}`,
    carries: (message) => fitsUrl(rpc.input, message, route),
    call: async (message, credentials) => {
      const { target, body } = requestFor(rpc.input, message, route, names);
      const url = baseUrl + target;
      const headers = await credentials({ method: route.verb, url });
      return await sendHttp(rpc, url, { method: route.verb, headers, ...body });
    },
  };
}

/** Sends an HTTP request and reads the JSON that a route of the RPC must answer. */
export async function sendHttp(
  rpc: DescMethodUnary,
  url: string,
  { headers, ...init }: Omit<RequestInit, "headers"> & { headers?: Record<string, string> },
): Promise<Answer> {
  const jsonType: Record<string, string> = init.body === undefined ? {} : { "content-type": "application/json" };
  const response = await fetch(url, { ...init, headers: { ...jsonType, ...headers } });
  const text = await response.text();
  const type = response.headers.get("content-type");
  if (type !== "application/json")
    throw new Error(`HTTP ${response.status} with content type ${String(type)}: ${text}`);
  const json = JSON.parse(text) as JsonObject;
  if (!response.ok) return refusalFrom(response, json);
  const wrong = wrongNames(rpc.output, json);
  if (wrong.length > 0) throw new Error(`The answer's JSON does not have the proto's field names: ${wrong.join(", ")}`);
  return { code: "ok", response: fromJson(rpc.output, json) };
}

function refusalFrom(response: Response, json: JsonObject): Answer {
  const refusal = refusalOf(
    errorFromJson(json, undefined, new ConnectError("not an error of Connect's", Code.Unknown)),
  );
  const status = codeToHttpStatus(codeFromString(refusal.code) ?? Code.Unknown);
  if (response.status !== status) throw new Error(`${refusal.code} has HTTP status ${response.status}, not ${status}`);
  return refusal;
}

/** The names at the top of the JSON that are not names of the proto's fields, and those of its fields that are missing. */
function wrongNames({ fields }: DescMessage, json: JsonObject): string[] {
  const known = fields.map(({ name }) => name);
  const always = fields.filter(
    ({ fieldKind, presence }) =>
      fieldKind === "list" || fieldKind === "map" || presence === FeatureSet_FieldPresence.IMPLICIT,
  );
  return [
    ...Object.keys(json).filter((name) => !known.includes(name)),
    ...always.filter(({ name }) => !(name in json)).map(({ name }) => `no ${name}`),
  ];
}

/** Puts a message into path, query and body as the route says (google/api/http.proto). */
function requestFor(
  schema: DescMessage,
  message: Message,
  { path, body }: Route,
  names: FieldNames,
): { target: string; body: { body?: string } } {
  const json = toJson(schema, message, { useProtoFieldName: names === "snake_case" }) as JsonObject;
  const keyOf = (name: string): string =>
    names === "snake_case" ? name : (schema.fields.find((field) => field.name === name)?.jsonName ?? name);
  const take = (name: string): JsonValue | undefined => {
    const value = json[keyOf(name)];
    Reflect.deleteProperty(json, keyOf(name));
    return value;
  };
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(text(take(name) ?? "")));
  if (body === "*") return { target: filled, body: { body: JSON.stringify(json) } };
  const part = body === "" ? {} : { body: JSON.stringify(take(body) ?? {}) };
  const query = queryOf(json, "");
  return { target: query === "" ? filled : `${filled}?${query}`, body: part };
}

/** A path cannot hold an empty variable, a body no absent field, and a query neither maps nor lists of messages. */
function fitsUrl(schema: DescMessage, message: Message, { path, body }: Route): boolean {
  const json = toJson(schema, message, { useProtoFieldName: true }) as JsonObject;
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
  if (inPath.some((name) => json[name] === undefined)) return false;
  if (body === "*") return true;
  if (body !== "" && json[body] === undefined) return false;
  const inQuery = schema.fields.filter(({ name }) => name in json && name !== body && !inPath.includes(name));
  return inQuery.every(
    ({ fieldKind, message: inner }) => fieldKind !== "map" && (fieldKind !== "list" || inner === undefined),
  );
}

/** `a=1&b.c=2&d=3&d=4` */
function queryOf(json: JsonObject, prefix: string): string {
  const pairs = Object.entries(json).flatMap(([name, value]): string[] => {
    const key = prefix + name;
    if (Array.isArray(value)) return value.map((item) => `${key}=${encodeURIComponent(text(item))}`);
    if (value !== null && typeof value === "object") return [queryOf(value, `${key}.`)];
    return [`${key}=${encodeURIComponent(text(value))}`];
  });
  return pairs.filter((pair) => pair !== "").join("&");
}

function text(value: JsonValue): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
