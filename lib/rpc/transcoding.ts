import type { DescService, JsonObject } from "@bufbuild/protobuf";
import type { UniversalHandler } from "@connectrpc/connect/protocol";

import { ErrorReason } from "../failure.ts";
import { bodySource } from "./body-source.ts";
import { assertDecodable, parseJson } from "./decodable.ts";
import type { Exchange } from "./exchange.ts";
import { webHeaders } from "./node-http.ts";
import { type HttpBinding, httpBindings } from "./http-rule.ts";
import type { Invocation } from "./invoke.ts";
import { HttpRefusal, methodNotAllowed } from "./json-answer.ts";
import type { Limits } from "./limits.ts";
import { setFromText } from "./message-json.ts";
import { isPercentEncoded, parseQuery } from "./query.ts";
import { openBody } from "./request-body.ts";
import { refusal } from "./wire-error.ts";

/** The HTTP routes that the protos declare. */
export interface Routes {
  /** Reads a request to a route as a call; undefined when no route has its path. Throws an HttpRefusal for a wrong verb or type. */
  read(exchange: Exchange): Invocation | undefined;
  /** Whether the path begins as some route does: with `/v1`, say. */
  hasPrefixOf(path: string): boolean;
}

/**
 * Serves `google.api.http` from the descriptors, as Connect unary JSON: path, query and JSON body become the request
 * message's JSON. Proto names and JSON names are both read.
 */
export function createRoutes(
  services: readonly DescService[],
  handlers: ReadonlyMap<string, UniversalHandler>,
  limits: Limits,
): Routes {
  const bindings = services.flatMap((service) => service.methods.flatMap(httpBindings));
  const fixed = new Map<string, HttpBinding[]>();
  for (const binding of bindings.filter(isFixed)) {
    fixed.set(binding.template, [...(fixed.get(binding.template) ?? []), binding]);
  }
  const open = bindings.filter((binding) => !isFixed(binding));
  const prefixes = new Set(bindings.map(({ template }) => firstSegment(template)));
  return {
    hasPrefixOf: (path) => prefixes.has(firstSegment(path)),
    read: (exchange) => {
      const { info, record } = exchange;
      const candidates = fixed.get(info.path) ?? open.filter(({ pattern }) => pattern.test(info.path));
      if (candidates.length === 0) return undefined;
      const verb = info.method === "HEAD" ? "GET" : info.method;
      const binding = candidates.find((candidate) => candidate.verb === verb);
      if (binding === undefined) throw methodNotAllowed(allowedVerbs(candidates));
      const { method } = binding;
      const handler = handlers.get(`/${method.parent.typeName}/${method.name}`);
      if (handler === undefined) throw new Error(`${method.name} has a route and no handler`);
      record.method = `${method.parent.typeName}/${method.name}`;
      record.protocol = "http";
      return invocationOf(exchange, binding, handler, limits);
    },
  };
}

function invocationOf(exchange: Exchange, binding: HttpBinding, handler: UniversalHandler, limits: Limits): Invocation {
  const headers = webHeaders(exchange.request);
  const contentType = headers.get("content-type") ?? "application/json";
  if (binding.body !== "" && !/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(contentType)) {
    throw new HttpRefusal(415, "Content-Type must be application/json.", { "accept-post": "application/json" });
  }
  const encoding = headers.get("content-encoding") ?? undefined;
  headers.set("content-type", "application/json");
  headers.delete("content-encoding");
  headers.delete("content-length");
  return { handler, protocol: "connect", headers, body: routeBody(exchange, binding, encoding, limits) };
}

/** The request message's JSON. What is wrong throws while Connect reads it, and so becomes Connect's answer. */
async function* routeBody(
  exchange: Exchange,
  binding: HttpBinding,
  encoding: string | undefined,
  limits: Limits,
): AsyncIterable<Uint8Array> {
  const { input } = binding.method;
  const hasBody = binding.body !== "";
  const given = hasBody
    ? await openBody(bodySource(exchange, limits.requestTimeoutMs), encoding, limits.bodyBytes)
    : new Uint8Array();
  const body = given.byteLength === 0 ? Buffer.from("{}") : given;
  if (binding.body === "*") assertDecodable(input, "json", body);
  if (binding.body === "*" && binding.variables.length === 0) {
    yield body;
    return;
  }
  const json = (binding.body === "*" ? parseJson(body) : {}) as JsonObject;
  if (binding.body !== "*") {
    if (given.byteLength > 0) json[binding.body] = parseJson(given);
    for (const [name, texts] of parseQuery(exchange.query)) setFromText(json, input, name.split("."), texts);
  }
  const values = binding.pattern.exec(exchange.info.path)?.slice(1) ?? [];
  binding.variables.forEach(({ fieldPath, spansSegments }, index) => {
    setFromText(json, input, fieldPath, [decodeVariable(values[index] ?? "", spansSegments)]);
  });
  const message = Buffer.from(JSON.stringify(json));
  assertDecodable(input, "json", message);
  yield message;
}

/** In a variable of several segments an encoded slash stays encoded: it separates none (google/api/http.proto). */
function decodeVariable(value: string, spansSegments: boolean): string {
  if (!isPercentEncoded(value)) throw refusal(ErrorReason.INVALID_REQUEST, "The path is not percent-encoded UTF-8.");
  return decodeURIComponent(spansSegments ? value.replace(/%(2f)/gi, "%25$1") : value);
}

function allowedVerbs(bindings: readonly HttpBinding[]): string[] {
  const verbs = new Set(bindings.flatMap(({ verb }) => (verb === "GET" ? ["GET", "HEAD"] : [verb])));
  return [...verbs].sort();
}

function isFixed({ template }: HttpBinding): boolean {
  return !/[{*]/.test(template);
}

function firstSegment(path: string): string {
  return path.split("/", 2)[1] ?? "";
}
