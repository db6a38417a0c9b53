import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { http } from "@agentkeys/gen/google/api/annotations_pb";
import type { HttpRule } from "@agentkeys/gen/google/api/http_pb";

/** A plain HTTP way to an RPC, as its `google.api.http` option declares it. */
export interface Route {
  verb: string;
  /** With variables in braces: `/v1/things/{thing_id}`. */
  path: string;
  /** `*`: the body is the message; a field's name: it is that field; empty: there is none. */
  body: string;
}

/** The RPC's routes, its additional bindings among them. */
export function routesOf(rpc: DescMethod): Route[] {
  return hasOption(rpc, http) ? fromRule(getOption(rpc, http)) : [];
}

function fromRule(rule: HttpRule): Route[] {
  const { pattern, body } = rule;
  const rest = rule.additionalBindings.flatMap(fromRule);
  switch (pattern.case) {
    case undefined:
      return rest;
    case "custom":
      return [{ verb: pattern.value.kind, path: pattern.value.path, body }, ...rest];
    default:
      return [{ verb: pattern.case.toUpperCase(), path: pattern.value, body }, ...rest];
  }
}
