import { isMessage, type Message } from "@bufbuild/protobuf";

import { type DeclaredRules, UnknownRule } from "./rules.ts";

/** A field's value, as `create()` of @bufbuild/protobuf takes it. */
export type Value = string | number | bigint | boolean | Uint8Array | Message | readonly Value[] | ValueMap;
export interface ValueMap {
  [key: string]: Value;
}

/**
 * Values to try for one field. A proposal is a guess: protovalidate decides which of them fit and which break what
 * they are meant to break (field-values.ts).
 */
export interface Proposals {
  /** Likely to keep every rule. */
  fits: readonly Value[];
  /** Written into the proto as examples: each must fit, and they stand for all valid values. */
  examples: readonly Value[];
  breaks: readonly Break[];
}

/** How one rule may be broken. */
export interface Break {
  /** The rule's path in `buf.validate.FieldRules`: `string.pattern`. */
  rule: string;
  /** Values that likely break it, made from values that keep every rule. */
  values: (good: readonly Value[]) => readonly Value[];
}

/** What one rule of one kind suggests. */
export interface Suggestion<V extends Value> {
  fits?: readonly V[];
  examples?: readonly V[];
  breaks?: (good: readonly V[]) => readonly V[];
}

/** For every rule of a kind that is known, by its name in the proto, what it suggests. A rule that is missing is unknown. */
export type RuleTable<Rules, V extends Value> = Readonly<Record<string, (rules: Rules) => Suggestion<V>>>;

/** Collects what the declared rules suggest. `general` are values to try whatever the rules. Throws `UnknownRule`. */
export function propose<Rules, V extends Value>(
  declared: DeclaredRules,
  table: RuleTable<Rules, V>,
  general: readonly V[],
): Proposals {
  const { type } = declared;
  const suggestions = (type?.names ?? []).map((name) => {
    const rule = `${type?.kind ?? ""}.${name}`;
    const suggest = table[name];
    if (suggest === undefined) throw new UnknownRule(declared.place, rule);
    return { rule, ...suggest(type?.rules as Rules) };
  });
  return {
    fits: [...suggestions.flatMap(({ fits = [] }) => fits), ...general],
    examples: suggestions.flatMap(({ examples = [] }) => examples),
    breaks: suggestions.flatMap(({ rule, breaks }) =>
      // What comes back in are values of this very table.
      breaks === undefined ? [] : [{ rule, values: (good) => breaks(good as readonly V[]) }],
    ),
  };
}

/** The values without those whose key came before. */
export function distinctBy<T>(values: readonly T[], keyOf: (value: T) => string): T[] {
  const seen = new Set<string>();
  return values.filter((value) => {
    const key = keyOf(value);
    const isNew = !seen.has(key);
    seen.add(key);
    return isNew;
  });
}

/**
 * At most `count` of the values, from the whole range of them, first and last included; of those that are very long, which
 * cost every test much, only one.
 */
export function spread<T>(values: readonly T[], count: number, sizeOf: (value: T) => number): T[] {
  const isLong = (value: T): boolean => sizeOf(value) > 10_000;
  const firstLong = values.findIndex(isLong);
  const bearable = values.filter((value, i) => i === firstLong || !isLong(value));
  if (bearable.length <= count) return bearable;
  return Array.from({ length: count }, (_, i) => bearable[Math.round((i * (bearable.length - 1)) / (count - 1))] as T);
}

/** A value as text, short where it is long: for test titles, and to tell values apart. */
export function show(value: Value, limit = Infinity): string {
  const text = JSON.stringify(value, (_, part: unknown) => {
    if (typeof part === "bigint") return `${part}n`;
    if (part instanceof Uint8Array) return `0x${Buffer.from(part).toString("hex")}`;
    if (typeof part === "number" && !Number.isFinite(part)) return String(part);
    if (isMessage(part)) return { ...part, $typeName: undefined };
    return part;
  });
  return text.length <= limit ? text : `${text.slice(0, limit)}… (${text.length} characters)`;
}
