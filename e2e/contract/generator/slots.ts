import { create, type DescField, type DescMessage, type DescOneof, getOption } from "@bufbuild/protobuf";
import { ErrorReason } from "@agentkeys/gen/agentkeys/errors/v1/error_reason_pb";
import {
  message as messageOption,
  type MessageOneofRule,
  oneof as oneofOption,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

import { type BrokenChoice, type Choice, chooseValues, type FieldChoices, mergeInits } from "./field-values.ts";
import { brokenRules } from "./judge.ts";
import type { Nest } from "./message-values.ts";

/**
 * What varies by itself in a message: a field, a oneof, or the fields of a `buf.validate.message.oneof`; each with the
 * choices that keep the rules and those that break one.
 */
export type Slot = FieldChoices;

/** The slots of a message type. Throws as `chooseValues` does. */
export function slotsOf(desc: DescMessage, nest: Nest): Slot[] {
  const choose = (field: DescField): FieldChoices => chooseValues(desc, field, nest);
  const groups = getOption(desc, messageOption).oneof;
  const grouped = new Set(groups.flatMap(({ fields }) => fields));
  return [
    ...desc.fields.filter((field) => field.oneof === undefined && !grouped.has(field.name)).map(choose),
    ...desc.oneofs.map((oneof) => oneofSlot(desc, oneof, oneof.fields.map(choose))),
    ...groups.map((group) =>
      groupSlot(desc, group, desc.fields.filter(({ name }) => group.fields.includes(name)).map(choose)),
    ),
  ];
}

/** One of the fields, or none of them where the oneof is not required. */
function oneofSlot(desc: DescMessage, oneof: DescOneof, fields: readonly FieldChoices[]): Slot {
  const none: Choice = { title: `${oneof.name} = unset`, init: {} };
  const breaks = fields.flatMap((field) => field.breaks);
  if (!getOption(oneof, oneofOption).required) return { fits: [...setOnes(fields), none], breaks };
  return { fits: setOnes(fields), breaks: [...breaks, breakOf(desc, none, "required")] };
}

/** As a oneof, by rule instead of by syntax: so two may be set at once, which breaks it. */
function groupSlot(desc: DescMessage, group: MessageOneofRule, fields: readonly FieldChoices[]): Slot {
  const fits = setOnes(fields).filter(({ init }) =>
    brokenRules(desc, create(desc, init)).every(({ ruleId }) => ruleId !== oneofRule),
  );
  const nonZero = fields.flatMap((field) => setOnes([field]).slice(0, 1));
  const two: Choice = {
    title: nonZero.map(({ title }) => title).join(" and "),
    init: mergeInits(nonZero),
  };
  const breaks = [...fields.flatMap((field) => field.breaks), breakOf(desc, two, oneofRule)];
  const none: Choice = { title: `none of ${group.fields.join(", ")}`, init: {} };
  return group.required
    ? { fits, breaks: [...breaks, breakOf(desc, none, oneofRule)] }
    : { fits: [...fits, none], breaks };
}

const oneofRule = "message.oneof";

function setOnes(fields: readonly FieldChoices[]): Choice[] {
  return fields.flatMap((field) => field.fits).filter(({ init }) => Object.keys(init).length > 0);
}

function breakOf(desc: DescMessage, choice: Choice, ruleId: string): BrokenChoice {
  const broken = brokenRules(desc, create(desc, choice.init)).find((one) => one.ruleId === ruleId);
  if (broken === undefined) throw new Error(`${desc.typeName}: "${choice.title}" was meant to break ${ruleId}`);
  return { ...choice, rule: broken.rule, field: broken.field, reason: ErrorReason.INVALID_REQUEST };
}
