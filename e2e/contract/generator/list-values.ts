import type { DescField } from "@bufbuild/protobuf";
import type { RepeatedRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

import { type Element, proposeElement } from "./element-values.ts";
import type { Nest } from "./message-values.ts";
import { propose, type Proposals, type RuleTable, type Value } from "./proposals.ts";
import { type DeclaredRules, readRules } from "./rules.ts";

/** Lists that keep, and that break, the rules of a repeated field and of its items. */
export function proposeLists(field: DescField & { fieldKind: "list" }, declared: DeclaredRules, nest: Nest): Proposals {
  const listRules = declared.type?.rules as RepeatedRules | undefined;
  const items = proposeElement(elementOf(field), readRules(`${declared.place} (items)`, listRules?.items), nest);
  const pool = items.examples.length > 0 ? items.examples : items.fits;
  const rules: RuleTable<RepeatedRules, Value[]> = {
    min_items: ({ minItems }) => ({
      fits: [take(pool, Number(minItems))],
      breaks: (good) => [...good.map((list) => list.slice(0, Number(minItems) - 1)), []],
    }),
    max_items: ({ maxItems }) => ({
      fits: [take(pool, Number(maxItems))],
      breaks: (good) => [take([...good.flat(), ...pool], Number(maxItems) + 1)],
    }),
    unique: () => ({ breaks: (good) => good.map((list) => [...list, ...list.slice(0, 1)]) }),
    items: () => ({}),
  };
  const ofList = propose(declared, rules, [...pool.map((item) => [item]), take(pool, 2), []]);
  return {
    ...ofList,
    breaks: [
      ...ofList.breaks,
      ...items.breaks.map(({ rule, values }) => ({
        // The rules inside a message stand at its own fields, not at the list's.
        rule: field.listKind === "message" ? rule : `repeated.items.${rule}`,
        values: (good: readonly Value[]) => {
          const goodLists = good as readonly Value[][];
          return values(goodLists.flat()).flatMap((item) =>
            goodLists.slice(0, 3).map((list) => [...list.slice(1), item]),
          );
        },
      })),
    ],
  };
}

function elementOf(field: DescField & { fieldKind: "list" }): Element {
  if (field.listKind === "message") return { message: field.message };
  return field.listKind === "enum" ? { enum: field.enum } : { scalar: field.scalar };
}

/** `count` items, going round where the pool has fewer. */
function take(pool: readonly Value[], count: number): Value[] {
  return pool.length === 0 ? [] : Array.from({ length: count }, (_, i) => pool[i % pool.length] as Value);
}
