import type { DescField } from "@bufbuild/protobuf";
import type { MapRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

import { type Element, proposeElement } from "./element-values.ts";
import type { Nest } from "./message-values.ts";
import { propose, type Proposals, type RuleTable, show, type Value, type ValueMap } from "./proposals.ts";
import { type DeclaredRules, readRules } from "./rules.ts";

/** Maps that keep, and that break, the rules of a map field and of its keys and values. */
export function proposeMaps(field: DescField & { fieldKind: "map" }, declared: DeclaredRules, nest: Nest): Proposals {
  const mapRules = declared.type?.rules as MapRules | undefined;
  const keys = proposeElement({ scalar: field.mapKey }, readRules(`${declared.place} (keys)`, mapRules?.keys), nest);
  const values = proposeElement(elementOf(field), readRules(`${declared.place} (values)`, mapRules?.values), nest);
  const someKeys = [...new Set([...keys.examples, ...keys.fits].map(keyText))];
  const [aValue = ""] = [...values.examples, ...values.fits];
  const withKeys = (count: number): ValueMap =>
    Object.fromEntries(someKeys.slice(0, count).map((key) => [key, aValue]));
  const rules: RuleTable<MapRules, ValueMap> = {
    min_pairs: ({ minPairs }) => ({
      fits: [withKeys(Number(minPairs))],
      breaks: () => [withKeys(Number(minPairs) - 1)],
    }),
    max_pairs: ({ maxPairs }) => ({
      fits: [withKeys(Number(maxPairs))],
      breaks: () => [withKeys(Number(maxPairs) + 1)],
    }),
    keys: () => ({}),
    values: () => ({}),
  };
  const general = [...someKeys.map((key) => ({ [key]: aValue })), {}];
  const ofMap = propose(declared, rules, general);
  const firstKey = (good: readonly Value[]): string => Object.keys((good as readonly ValueMap[])[0] ?? {})[0] ?? "";
  return {
    ...ofMap,
    breaks: [
      ...ofMap.breaks,
      ...keys.breaks.map((part) => ({
        rule: `map.keys.${part.rule}`,
        values: () => part.values(keys.fits).map((key) => ({ [keyText(key)]: aValue })),
      })),
      ...values.breaks.map((part) => ({
        rule: field.mapKind === "message" ? part.rule : `map.values.${part.rule}`,
        values: (good: readonly Value[]) => part.values(values.fits).map((value) => ({ [firstKey(good)]: value })),
      })),
    ],
  };
}

function elementOf(field: DescField & { fieldKind: "map" }): Element {
  if (field.mapKind === "message") return { message: field.message };
  return field.mapKind === "enum" ? { enum: field.enum } : { scalar: field.scalar };
}

function keyText(key: Value): string {
  return typeof key === "object" ? show(key) : String(key);
}
