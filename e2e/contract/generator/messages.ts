import { create, type DescMessage, getOption, type Message, toBinary } from "@bufbuild/protobuf";
import { ErrorReason } from "@agentkeys/gen/agentkeys/errors/v1/error_reason_pb";
import { message as messageOption } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import fc from "fast-check";

import { type BrokenChoice, type Choice, mergeInits } from "./field-values.ts";
import { brokenRules, isSameRule } from "./judge.ts";
import type { Nest } from "./message-values.ts";
import { distinctBy } from "./proposals.ts";
import { UnknownRule } from "./rules.ts";
import { slotsOf } from "./slots.ts";

/** A message that keeps every rule of its type. */
export interface ValidMessage {
  title: string;
  message: Message;
}

/** A message that breaks rules of one field, or of the message as a whole, and nothing else. */
export interface BrokenMessage {
  title: string;
  message: Message;
  /** The path of the field, `pets[1].name`; empty when it is the message as a whole. */
  field: string;
  /** `string.pattern`, `required`, or the id of a CEL rule. */
  rule: string;
  /** The reason that the answer must have. */
  reason: ErrorReason;
}

export interface Messages {
  valid: ValidMessage[];
  broken: BrokenMessage[];
}

/**
 * Makes valid messages of a type (every fitting value of every field, and some mixtures) and broken ones (every rule of
 * every field, and every rule of the message). The same in every run; each is tried on protovalidate, whose verdict must be the
 * generator's. Throws `UnknownRule` for a rule it has no values for, an Error when there is no way to keep, or to break, a rule.
 */
export function messagesOf(desc: DescMessage): Messages {
  return generate(desc, []);
}

/** `above` are the types that this one is nested in: a type inside itself is left unset. */
function generate(desc: DescMessage, above: readonly string[]): Messages {
  const nest: Nest = (inner) => {
    if ([...above, desc.typeName].includes(inner.typeName)) return { valid: [], broken: [] };
    const { valid, broken } = generate(inner, [...above, desc.typeName]);
    // One break for each rule: more would multiply with every level and list.
    return {
      valid: valid.slice(0, 3).map(({ message }) => message),
      broken: distinctBy(broken, ({ field, rule }) => `${field} ${rule}`),
    };
  };
  const slots = slotsOf(desc, nest);
  const build = (choices: readonly Choice[]): ValidMessage => ({
    title: choices.map(({ title }) => title).join(", ") || "no fields",
    message: create(desc, mergeInits(choices)),
  });
  const mixtures = mix(slots.map(({ fits }) => fits));
  const base = mixtures.find((choices) => brokenRules(desc, build(choices).message).length === 0);
  if (base === undefined) throw new Error(`${desc.typeName}: no message was found that keeps its rules`);
  /** The base with one slot set otherwise. */
  const vary = (slot: number, choice: Choice): Choice[] => base.with(slot, choice);

  const alternatives = [base, ...slots.flatMap(({ fits }, slot) => fits.map((choice) => vary(slot, choice)))].map(
    build,
  );
  const bytes = ({ message }: ValidMessage): string => Buffer.from(toBinary(desc, message)).toString("base64");
  const candidates = distinctBy([...alternatives, ...mixtures.slice(1, 4).map(build)], bytes);
  const broken = slots.flatMap(({ breaks }, slot) =>
    breaks.map((choice): BrokenMessage => ({ ...pick(choice), ...build(vary(slot, choice)), title: choice.title })),
  );
  broken.forEach((one) => confirmBroken(desc, one));
  return {
    valid: candidates.filter((candidate) => isValid(desc, candidate)),
    broken: [...broken, ...breakMessageRules(desc, [...candidates, ...mixtures.map(build)])],
  };
}

function pick({ field, rule, reason }: BrokenChoice) {
  return { field, rule, reason };
}

/** Some hundred ways to choose one of each: first all firsts, then at random, with a seed that never changes. */
function mix(slots: readonly Choice[][]): Choice[][] {
  if (slots.length === 0) return [[]];
  const anyOf = fc.tuple(...slots.map((fits) => fc.constantFrom(...fits)));
  return [slots.map((fits) => fits[0]!), ...fc.sample(anyOf, { seed: 20, numRuns: 200 })];
}

/** Whether it is valid; false when only a rule of the whole message is in the way, which no field can know of. */
function isValid(desc: DescMessage, { title, message }: ValidMessage): boolean {
  const broken = brokenRules(desc, message);
  const [ofField] = broken.filter(({ field }) => field !== "");
  if (ofField !== undefined)
    throw new Error(`${desc.typeName} with ${title} was to be valid, and breaks ${ofField.rule}`);
  return broken.length === 0;
}

/** What is meant to break one field must break that one, and no other. */
function confirmBroken(desc: DescMessage, { title, message, field, rule }: BrokenMessage): void {
  const broken = brokenRules(desc, message);
  const meant = broken.find((one) => one.field === field && isSameRule(rule, one));
  const other = broken.find((one) => one.field !== "" && one.top !== meant?.top);
  if (meant === undefined) throw new Error(`${desc.typeName} with ${title} was to break ${rule}, and does not`);
  if (other !== undefined)
    throw new Error(`${desc.typeName} with ${title} also breaks ${other.rule} of ${other.field}`);
}

/** The rules of the message itself (CEL): for each, one of the messages at hand that breaks only rules of this kind. */
function breakMessageRules(desc: DescMessage, candidates: readonly ValidMessage[]): BrokenMessage[] {
  const options = getOption(desc, messageOption);
  const [extension] = options.$unknown ?? [];
  if (extension !== undefined) throw new UnknownRule(desc.typeName, `extension number ${extension.no}`);
  const ids = [...options.cel.map(({ id }) => id), ...options.celExpression];
  return ids.map((id) => {
    const found = candidates.find(({ message }) => {
      const broken = brokenRules(desc, message);
      return broken.every(({ field }) => field === "") && broken.some(({ ruleId }) => ruleId === id);
    });
    if (found === undefined) throw new Error(`${desc.typeName}: no message was found that breaks the rule "${id}"`);
    return { ...found, field: "", rule: id, reason: ErrorReason.INVALID_REQUEST };
  });
}
