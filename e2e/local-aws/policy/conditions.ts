import { fillVariables, fitsPattern, type RequestContext } from "./pattern.ts";

/** Condition operator → condition key → values, as in a policy. */
export type Conditions = Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;

/**
 * Whether every condition holds: all operators and all keys must, any one of a key's values may. `undefined` when a policy
 * variable has no value in this request.
 */
export function conditionsHold(conditions: Conditions, context: RequestContext): boolean | undefined {
  for (const [operator, keys] of Object.entries(conditions)) {
    for (const [key, wanted] of Object.entries(keys)) {
      const holds = conditionHolds(parseOperator(operator), wanted, context.get(key.toLowerCase()), context);
      if (holds !== true) return holds;
    }
  }
  return true;
}

/** Whether this evaluator knows the operator; a policy with another one must not be attached. */
export function isKnownOperator(operator: string): boolean {
  const { base, set } = parseOperator(operator);
  return Object.hasOwn(tests, base) || (base === "Null" && set === undefined);
}

interface Operator {
  base: string;
  set: "ForAllValues" | "ForAnyValue" | undefined;
  ifExists: boolean;
}

type Comparison = (wanted: string, value: string, context: RequestContext) => boolean | undefined;

/** A negated operator holds when no wanted value fits, so also for a key that the request lacks. */
const tests: Record<string, { fits: Comparison; negated: boolean }> = {
  StringEquals: { fits: equals((text) => text), negated: false },
  StringNotEquals: { fits: equals((text) => text), negated: true },
  StringEqualsIgnoreCase: { fits: equals((text) => text.toLowerCase()), negated: false },
  StringNotEqualsIgnoreCase: { fits: equals((text) => text.toLowerCase()), negated: true },
  StringLike: { fits: fitsPattern, negated: false },
  StringNotLike: { fits: fitsPattern, negated: true },
  ArnEquals: { fits: fitsPattern, negated: false },
  ArnLike: { fits: fitsPattern, negated: false },
  ArnNotLike: { fits: fitsPattern, negated: true },
  Bool: { fits: equals((text) => text.toLowerCase()), negated: false },
};

function conditionHolds(
  { base, set, ifExists }: Operator,
  wanted: readonly string[],
  values: readonly string[] | undefined,
  context: RequestContext,
): boolean | undefined {
  if (base === "Null") return wanted.some((text) => (text.toLowerCase() === "true") === (values === undefined));
  const test = tests[base];
  if (test === undefined) return false;
  if (values === undefined) return ifExists || test.negated || set === "ForAllValues";

  const results: boolean[] = [];
  for (const value of values) {
    const fits = wanted.map((text) => test.fits(text, value, context));
    if (fits.includes(undefined)) return undefined;
    results.push(fits.includes(true) !== test.negated);
  }
  if (set === "ForAllValues") return results.every(Boolean);
  if (set === "ForAnyValue") return results.some(Boolean);
  return test.negated ? results.every(Boolean) : results.some(Boolean);
}

function parseOperator(operator: string): Operator {
  const match = /^(?:(ForAllValues|ForAnyValue):)?(.*?)(IfExists)?$/.exec(operator);
  return {
    base: match?.[2] ?? "",
    set: match?.[1] as Operator["set"],
    ifExists: match?.[3] !== undefined,
  };
}

function equals(form: (text: string) => string): Comparison {
  return (wanted, value, context) => {
    const filled = fillVariables(wanted, context);
    return filled === undefined ? undefined : form(filled) === form(value);
  };
}
