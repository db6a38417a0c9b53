import { AwsError } from "../aws-error.ts";
import { type Conditions, isKnownOperator } from "./conditions.ts";
import { variablesIn } from "./pattern.ts";

/** What a policy is attached to decides which members its statements have. */
export type PolicyKind = "trust" | "permissions";

export interface Statement {
  effect: "Allow" | "Deny";
  /** Patterns, compared without regard to case. */
  actions: readonly string[];
  /** Patterns of ARNs; empty in a trust policy. */
  resources: readonly string[];
  /** Provider ARNs whose tokens a trust policy accepts; empty in a permissions policy. */
  federated: readonly string[];
  conditions: Conditions;
}

/**
 * Reads a policy document. AWS knows more than this stand-in; what it does not know (NotAction, NotResource, other principals
 * and operators) is refused with MalformedPolicyDocument when the policy is attached, never ignored.
 */
export function parsePolicy(text: string, kind: PolicyKind): readonly Statement[] {
  const document = record(parseJson(text), "The policy");
  only(document, ["Version", "Id", "Statement"], "the policy");
  // Without it AWS takes the language of 2008, in which a variable is plain text: every isolation would fail silently.
  if (document["Version"] !== "2012-10-17") throw malformed('Version must be "2012-10-17"');
  return listOf(document["Statement"]).map((statement) => parseStatement(record(statement, "A statement"), kind));
}

function parseStatement(statement: Record<string, unknown>, kind: PolicyKind): Statement {
  only(statement, ["Sid", "Effect", "Action", "Condition", kind === "trust" ? "Principal" : "Resource"], "a statement");
  const effect = statement["Effect"];
  if (effect !== "Allow" && effect !== "Deny") throw malformed("Effect must be Allow or Deny");
  const actions = strings(statement["Action"], "Action");
  if (actions.some((action) => action !== "*" && !/^[a-z0-9]+:[A-Za-z*?]+$/i.test(action))) {
    throw malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.");
  }
  const resources = kind === "trust" ? [] : strings(statement["Resource"], "Resource");
  if (resources.some((resource) => resource !== "*" && !resource.startsWith("arn:"))) {
    throw malformed('Resource must be in ARN format or "*".');
  }
  const conditions = parseConditions(statement["Condition"]);
  [...resources, ...Object.values(conditions).flatMap((keys) => Object.values(keys).flat())]
    .flatMap(variablesIn)
    .forEach(checkVariable);
  return { effect, actions, resources, conditions, federated: kind === "trust" ? federatedIn(statement) : [] };
}

function federatedIn(statement: Record<string, unknown>): readonly string[] {
  const principal = record(statement["Principal"], "Principal");
  only(principal, ["Federated"], "Principal");
  return strings(principal["Federated"], "Principal.Federated");
}

function parseConditions(value: unknown): Conditions {
  if (value === undefined) return {};
  const conditions: Record<string, Record<string, readonly string[]>> = {};
  for (const [operator, keys] of Object.entries(record(value, "Condition"))) {
    if (!isKnownOperator(operator)) throw malformed(`Invalid Condition type : ${operator}`);
    conditions[operator] = Object.fromEntries(
      Object.entries(record(keys, operator)).map(([key, wanted]) => [key, strings(wanted, key)]),
    );
  }
  return conditions;
}

function checkVariable(name: string): void {
  if (!/^[A-Za-z0-9.:/_@=+-]+$/.test(name)) throw malformed(`The policy variable \${${name}} is not known here`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed("The policy is not in the valid JSON format.");
  }
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed(`${what} must be an object`);
  return value as Record<string, unknown>;
}

function only(value: Record<string, unknown>, members: readonly string[], what: string): void {
  const stranger = Object.keys(value).find((name) => !members.includes(name));
  if (stranger !== undefined) throw malformed(`${stranger} in ${what} is not known here`);
}

function strings(value: unknown, what: string): readonly string[] {
  const values = listOf(value).map((one) => (typeof one === "boolean" ? String(one) : one));
  if (values.length === 0 || !values.every((one) => typeof one === "string")) {
    throw malformed(`${what} must be a string or a list of strings`);
  }
  return values;
}

function listOf(value: unknown): unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? (value as unknown[]) : [value];
}

function malformed(message: string): AwsError {
  return new AwsError("MalformedPolicyDocument", 400, message);
}
