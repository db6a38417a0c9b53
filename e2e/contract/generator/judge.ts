import { type DescField, type DescMessage, getOption, type Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { ErrorReason, reason as reasonOption } from "@agentkeys/gen/agentkeys/errors/v1/error_reason_pb";
import { createValidator, type Violation } from "@bufbuild/protovalidate";

/** One rule that a message breaks, as protovalidate itself sees it. */
export interface Broken {
  /** The path of the field: `address`, `pets[1].name`; empty for a rule of the whole message. */
  field: string;
  /** The first field of that path. */
  top: string;
  /** The path of the rule, `string.pattern`; the rule's id where it has no path. */
  rule: string;
  /** protovalidate's name of the rule: `string.pattern`, `uint32.gte_lte`. */
  ruleId: string;
  /** The reason that the field declares for its rules (`agentkeys.errors.v1.reason`). */
  reason: ErrorReason;
}

/** Every rule that the message breaks; none when it is valid. Throws when a rule does not compile. */
export function brokenRules(schema: DescMessage, message: Message): Broken[] {
  const result = validator.validate(schema, message);
  if (result.kind === "error") throw result.error;
  return result.kind === "valid" ? [] : result.violations.map(describe);
}

/**
 * Whether it is the rule with this path. Two bounds of a number are one rule to protovalidate, `int32.gte_lte`, with the path
 * of the first of them.
 */
export function isSameRule(rule: string, broken: Broken): boolean {
  if (broken.rule === rule) return true;
  const [kind, name = ""] = rule.split(".");
  const [brokenKind, brokenName = ""] = broken.ruleId.split(".");
  return kind === brokenKind && bounds.has(name) && brokenName.split("_").includes(name);
}

const bounds = new Set(["lt", "lte", "gt", "gte"]);

const validator = createValidator();

function describe(violation: Violation): Broken {
  const rule = pathToString(violation.rule);
  const [first] = violation.field;
  return {
    field: pathToString(violation.field),
    top: first?.kind === "field" || first?.kind === "oneof" ? first.name : "",
    rule: rule === "" ? violation.ruleId : rule,
    ruleId: violation.ruleId,
    reason: reasonFor(violation),
  };
}

function reasonFor({ field: path }: Violation): ErrorReason {
  const field = path.findLast((part): part is DescField => part.kind === "field");
  const reason = field === undefined ? ErrorReason.UNSPECIFIED : getOption(field, reasonOption);
  return reason === ErrorReason.UNSPECIFIED ? ErrorReason.INVALID_REQUEST : reason;
}
