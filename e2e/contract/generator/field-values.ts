import { create, type DescField, type DescMessage, getOption } from "@bufbuild/protobuf";
import type { ErrorReason } from "@agentkeys/gen/agentkeys/errors/v1/error_reason_pb";
import { field as rulesOption } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

import { proposeElement } from "./element-values.ts";
import { type Broken, brokenRules, isSameRule } from "./judge.ts";
import { proposeLists } from "./list-values.ts";
import { proposeMaps } from "./map-values.ts";
import type { Nest } from "./message-values.ts";
import { distinctBy, type Proposals, show, spread, type Value } from "./proposals.ts";
import { type DeclaredRules, readRules } from "./rules.ts";

/** How a message's field is set, in the form that `create()` takes; nothing in it leaves the field unset. */
export interface Choice {
  title: string;
  init: Readonly<Record<string, unknown>>;
}

/** A choice that breaks a rule, and how protovalidate names what it breaks. */
export interface BrokenChoice extends Choice {
  rule: string;
  /** The path of the field, with that of a nested one: `pets[1].name`. */
  field: string;
  reason: ErrorReason;
}

/** The choices for one field: a few that keep all its rules, and for each rule a few that break it. */
export interface FieldChoices {
  fits: Choice[];
  breaks: BrokenChoice[];
}

const fitsPerField = 4;
const breaksPerRule = 4;

/**
 * The choices for one field, each tried on protovalidate. Throws `UnknownRule`; throws an Error when no value fits, when an
 * example does not, or when a rule cannot be broken: then the rule says nothing, or the generator has to learn.
 */
export function chooseValues(desc: DescMessage, field: DescField, nest: Nest): FieldChoices {
  const place = `${desc.typeName}.${field.name}`;
  const declared = readRules(place, getOption(field, rulesOption));
  const { fits, examples, breaks } = withRulesOfAnyType(proposalsFor(field, declared, nest), declared);
  const judge = ({ init }: Choice): Broken[] =>
    brokenRules(desc, create(desc, init)).filter(({ top }) => top === field.name);
  const isGood = (candidate: Candidate): boolean => judge(candidate).length === 0;

  const wrong = examples.map((value) => candidateFor(field, value)).find((candidate) => !isGood(candidate));
  if (wrong !== undefined)
    throw new Error(`${place}: the example ${wrong.title} breaks ${judge(wrong)[0]?.rule ?? ""}`);
  const proposed = distinctBy(examples.length > 0 ? examples : fits, show);
  const good = proposed.filter((value) => isGood(candidateFor(field, value)));
  const few = spread(
    good.map((value) => candidateFor(field, value)),
    fitsPerField,
    sizeOf,
  );
  const fitting = [...few, candidateFor(field, undefined)].filter(isGood);
  if (fitting.length === 0) throw new Error(`${place}: no value was found that keeps its rules; give it an example`);

  const breaking = breaks.flatMap(({ rule, values }) => {
    const candidates = rule === "required" ? [...values(good), undefined] : values(good);
    const confirmed = candidates.flatMap((value): (BrokenChoice & Candidate)[] => {
      const candidate = candidateFor(field, value);
      const broken = judge(candidate).find((one) => isSameRule(rule, one));
      return broken === undefined ? [] : [{ ...candidate, rule, field: broken.field, reason: broken.reason }];
    });
    if (confirmed.length === 0) throw new Error(`${place}: no value was found that breaks the rule "${rule}"`);
    const different = distinctBy(confirmed, ({ title }) => title);
    return spread(different, breaksPerRule, sizeOf);
  });
  return { fits: fitting, breaks: distinctBy(breaking, ({ rule, title }) => `${rule} ${title}`) };
}

interface Candidate extends Choice {
  /** Roughly how many characters it takes to write down. */
  size: number;
}

function candidateFor(field: DescField, value: Value | undefined): Candidate {
  if (value === undefined) return { title: `${field.name} = unset`, init: {}, size: 0 };
  return { title: `${field.name} = ${show(value, 60)}`, init: initOf(field, value), size: show(value).length };
}

function sizeOf({ size }: Candidate): number {
  return size;
}

function proposalsFor(field: DescField, declared: DeclaredRules, nest: Nest): Proposals {
  switch (field.fieldKind) {
    case "list":
      return proposeLists(field, declared, nest);
    case "map":
      return proposeMaps(field, declared, nest);
    case "message":
      return proposeElement({ message: field.message }, declared, nest);
    case "enum":
      return proposeElement({ enum: field.enum }, declared, nest);
    case "scalar":
      return proposeElement({ scalar: field.scalar }, declared, nest);
  }
}

/** `required`, and CEL, of which only protovalidate knows what breaks it: everything at hand is tried. */
function withRulesOfAnyType(proposals: Proposals, { required, cel }: DeclaredRules): Proposals {
  const everything = (good: readonly Value[]): readonly Value[] => [
    ...proposals.fits,
    ...proposals.breaks.flatMap(({ values }) => values(good)),
  ];
  const celRules = Object.entries(cel).flatMap(([list, count]) =>
    Array.from({ length: count }, (_, i) => `${list}[${i}]`),
  );
  return {
    ...proposals,
    breaks: [
      ...proposals.breaks,
      ...celRules.map((rule) => ({ rule, values: everything })),
      ...(required ? [{ rule: "required", values: () => [] }] : []),
    ],
  };
}

/** What sets all of the fields. */
export function mergeInits(choices: readonly Choice[]): Record<string, unknown> {
  return Object.fromEntries(choices.flatMap(({ init }) => Object.entries(init)));
}

function initOf(field: DescField, value: Value): Record<string, unknown> {
  return field.oneof === undefined
    ? { [field.localName]: value }
    : { [field.oneof.localName]: { case: field.localName, value } };
}
