import type { DescMethod } from "@bufbuild/protobuf";
import { getOption, hasOption } from "@bufbuild/protobuf";
import { http as httpOption } from "@agentkeys/gen/google/api/annotations_pb";
import type { HttpRule } from "@agentkeys/gen/google/api/http_pb";

/** One way to reach an RPC by a plain HTTP request: google/api/http.proto. */
export interface HttpBinding {
  method: DescMethod;
  /** GET, POST, …, upper case. */
  verb: string;
  /** The template as the proto has it, such as `/v1/things/{thing_id}`. */
  template: string;
  /** Matches a whole path as sent; one group per variable. */
  pattern: RegExp;
  variables: readonly { fieldPath: readonly string[]; spansSegments: boolean }[];
  /** `*`: the body is the request message; a field name: it is that field; empty: there is none. */
  body: string;
}

/** The bindings that an RPC's `google.api.http` option declares, its own first; none without one. */
export function httpBindings(method: DescMethod): HttpBinding[] {
  return hasOption(method, httpOption) ? bindingsOf(method, getOption(method, httpOption)) : [];
}

function bindingsOf(method: DescMethod, rule: HttpRule): HttpBinding[] {
  const { pattern, body, responseBody, additionalBindings } = rule;
  const where = `${method.parent.typeName}.${method.name}`;
  if (responseBody !== "") throw new Error(`${where}: response_body is not supported`);
  if (method.methodKind !== "unary") throw new Error(`${where}: an HTTP route can only lead to a unary RPC`);
  const further = additionalBindings.flatMap((additional) => bindingsOf(method, additional));
  if (pattern.case === undefined) return further;
  const { verb, template } =
    pattern.case === "custom"
      ? { verb: pattern.value.kind, template: pattern.value.path }
      : { verb: pattern.case.toUpperCase(), template: pattern.value };
  return [{ method, verb, template, body, ...compileTemplate(template) }, ...further];
}

/** Template = "/" Segments [ ":" Verb ]; Segment = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}". */
function compileTemplate(template: string): Pick<HttpBinding, "pattern" | "variables"> {
  const variables: HttpBinding["variables"][number][] = [];
  const source = template.replace(
    /\{([^}=]+)(?:=([^}]+))?\}|\*\*|\*|[^{*]+/g,
    (part: string, name?: string, inner: string = "*") => {
      if (name === undefined) return wildcards(part);
      variables.push({ fieldPath: name.trim().split("."), spansSegments: inner !== "*" });
      return `(${wildcards(inner)})`;
    },
  );
  return { pattern: new RegExp(`^${source}$`), variables };
}

function wildcards(segments: string): string {
  return segments.replace(/\*\*|\*|[^*]+/g, (part: string) => {
    if (part === "**") return ".+";
    return part === "*" ? "[^/]+" : part.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
  });
}
