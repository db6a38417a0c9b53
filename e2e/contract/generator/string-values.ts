import type { StringRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import fc from "fast-check";

import { propose, type Proposals, type RuleTable, type Suggestion } from "./proposals.ts";
import { type DeclaredRules, UnknownRule } from "./rules.ts";
import { stringFormats } from "./string-formats.ts";

/** Strings that keep, and strings that break, the rules of a string field. */
export function proposeStrings(declared: DeclaredRules): Proposals {
  const proposals = propose(declared, rules, general);
  const { type } = declared;
  if (type === undefined) return proposals;
  const pattern = (type.rules as StringRules).pattern;
  const sampled = pattern === "" || proposals.examples.length > 0 ? [] : sample(declared.place, pattern);
  const fits = [...sampled, ...(proposals.fits as string[])];
  const lengths = lengthsIn(type.rules as StringRules);
  return { ...proposals, fits: [...fits, ...lengths.flatMap((length) => stretchAll(fits, length))] };
}

/** Short and long, ASCII and not, blank, and what is special in URLs, JSON and HTML. */
const general = [
  "plain text",
  "",
  " ",
  "Zoë – 日本語 😀",
  'a "quoted" \\ back/slash',
  "a=b&c=d%20+#?",
  "<b>&amp;</b>",
  "x".repeat(300),
];

const formats = Object.fromEntries(
  Object.entries(stringFormats).map(([name, { fits, breaks }]) => [name, () => ({ fits, breaks: () => breaks })]),
);

const rules: RuleTable<StringRules, string> = {
  ...formats,
  const: ({ const: only }) => ({ fits: [only], breaks: () => [`${only}x`, "", only.toUpperCase()] }),
  len: ({ len }) => length(Number(len), Number(len)),
  min_len: ({ minLen }) => length(Number(minLen), Infinity),
  max_len: ({ maxLen }) => length(0, Number(maxLen)),
  len_bytes: ({ lenBytes }) => length(Number(lenBytes), Number(lenBytes), "é"),
  min_bytes: ({ minBytes }) => length(Number(minBytes), Infinity),
  max_bytes: ({ maxBytes }) => length(0, Number(maxBytes), "é"),
  pattern: () => ({ breaks: (good) => good.slice(0, 3).flatMap(mutations) }),
  prefix: ({ prefix, contains, suffix }) => ({
    fits: [prefix, `${prefix}abc`, `${prefix}abc${contains}def${suffix}`],
    breaks: (good) => good.flatMap((text) => [` ${text}`, text.slice(1), ""]),
  }),
  suffix: ({ suffix }) => ({
    fits: [suffix, `abc${suffix}`],
    breaks: (good) => good.flatMap((text) => [`${text} `, text.slice(0, -1), ""]),
  }),
  contains: ({ contains }) => ({
    fits: [contains, `abc${contains}def`],
    breaks: (good) => good.flatMap((text) => [text.replaceAll(contains, ""), ""]),
  }),
  not_contains: ({ notContains }) => ({ breaks: (good) => good.map((text) => text + notContains) }),
  in: (is) => ({ fits: is.in, breaks: () => is.in.flatMap((text) => [`${text}x`, text.toUpperCase(), ""]) }),
  not_in: ({ notIn }) => ({ breaks: () => notIn }),
  example: ({ example }) => ({ examples: example }),
};

/** From `least` to `most` long, measured in characters or, where `wide` takes two bytes, in bytes. */
function length(least: number, most: number, wide = "x"): Suggestion<string> {
  return {
    fits: ["x".repeat(least === 0 ? Math.min(most, 8) : least)],
    breaks: (good) => [
      ...(least > 0 ? ["", "x".repeat(least - 1), ...stretchAll(good, least - 1)] : []),
      ...(most < Infinity ? ["x".repeat(most + 1), wide.repeat(most), ...stretchAll(good, most + 1)] : []),
    ],
  };
}

/** Twelve strings that match; the same in every run. */
function sample(place: string, pattern: string): string[] {
  try {
    return fc.sample(fc.stringMatching(new RegExp(pattern, "u")), { seed: 20, numRuns: 12 });
  } catch {
    throw new UnknownRule(place, `string.pattern ${pattern} (not one that fast-check can sample: give string.example)`);
  }
}

/** Where a match most easily stops being one: its ends, its length, its case, and characters that slip through anchors. */
function mutations(text: string): string[] {
  const middle = Math.floor(text.length / 2);
  const replace = (character: string): string => text.slice(0, middle) + character + text.slice(middle + 1);
  return [
    "",
    text.slice(0, -1),
    text.slice(1),
    text + text.slice(-1),
    `${text}\n`,
    `\n${text}`,
    `${text}\nx`,
    ` ${text}`,
    `${text} `,
    `${text}\u0000`,
    replace("é"),
    replace("\u0001"),
    replace("!"),
    replace(" "),
    replace("g"),
    text.toUpperCase(),
    text.repeat(300),
    "é".repeat(300),
    "@",
  ];
}

function lengthsIn(rules: StringRules): number[] {
  const lengths = [rules.len, rules.minLen, rules.maxLen, rules.lenBytes, rules.minBytes, rules.maxBytes];
  return lengths.map(Number).filter((length) => length > 0);
}

/** Some of the texts, cut or drawn out by their last character to the length. */
function stretchAll(texts: readonly string[], length: number): string[] {
  const long = texts.filter((text) => text !== "").slice(0, 6);
  return long.map((text) => text.slice(0, length).padEnd(length, text.slice(-1)));
}
