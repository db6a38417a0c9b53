import { ScalarType } from "@bufbuild/protobuf";

import { propose, type Proposals, type RuleTable } from "./proposals.ts";
import type { DeclaredRules } from "./rules.ts";

/** Numbers that keep, and that break, the rules of a field of any of protobuf's twelve number types. */
export function proposeNumbers(declared: DeclaredRules, scalar: ScalarType): Proposals {
  const [least, most] = range(scalar);
  const one = typeof least === "bigint" ? 1n : 1;
  const inRange = (values: readonly Num[]): Num[] => values.filter((value) => !(value < least) && !(value > most));
  /** The number and its neighbours; at a bound, one of the three is on the wrong side. */
  const near = (value: Num | undefined): Num[] =>
    value === undefined ? [] : inRange([minus(value, one), value, plus(value, one)]);
  const bound = (value: Num | undefined) => ({ fits: near(value), breaks: () => [...near(value), least, most] });

  const rules: RuleTable<NumberRules, Num> = {
    const: ({ const: only }) => ({ fits: [only], breaks: () => near(only) }),
    lt: ({ lessThan }) => bound(lessThan.value),
    lte: ({ lessThan }) => bound(lessThan.value),
    gt: ({ greaterThan }) => bound(greaterThan.value),
    gte: ({ greaterThan }) => bound(greaterThan.value),
    in: (is) => ({ fits: is.in, breaks: () => is.in.flatMap(near) }),
    not_in: ({ notIn }) => ({ fits: notIn.flatMap(near), breaks: () => notIn }),
    finite: () => ({ breaks: () => [Infinity, -Infinity, NaN] }),
    example: ({ example }) => ({ examples: example }),
  };
  return propose(declared, rules, [one, minus(one, one), least, most]);
}

type Num = number | bigint;

/** What `buf.validate.Int32Rules`, `UInt64Rules`, `DoubleRules` and the others have in common. */
interface NumberRules {
  const: Num;
  in: Num[];
  notIn: Num[];
  example: Num[];
  lessThan: { value?: Num };
  greaterThan: { value?: Num };
}

function plus(a: Num, b: Num): Num {
  return typeof a === "bigint" ? a + BigInt(b) : a + Number(b);
}

function minus(a: Num, b: Num): Num {
  return typeof a === "bigint" ? a - BigInt(b) : a - Number(b);
}

function range(scalar: ScalarType): [Num, Num] {
  switch (scalar) {
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return [-(2 ** 31), 2 ** 31 - 1];
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return [0, 2 ** 32 - 1];
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return [-(2n ** 63n), 2n ** 63n - 1n];
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return [0n, 2n ** 64n - 1n];
    case ScalarType.FLOAT:
      return [-(2 ** 100), 2 ** 100];
    default:
      return [-(2 ** 1000), 2 ** 1000];
  }
}
