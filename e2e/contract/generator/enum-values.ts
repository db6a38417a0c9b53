import type { DescEnum } from "@bufbuild/protobuf";
import type { BoolRules, EnumRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

import { propose, type Proposals, type RuleTable } from "./proposals.ts";
import type { DeclaredRules } from "./rules.ts";

/** Enum numbers that keep, and that break, the rules of an enum field; an unknown number fits an open enum. */
export function proposeEnums(declared: DeclaredRules, desc: DescEnum): Proposals {
  const numbers = desc.values.map((value) => value.number);
  const unknown = desc.open ? [Math.max(...numbers) + 1] : [];
  const rules: RuleTable<EnumRules, number> = {
    const: ({ const: only }) => ({ fits: [only], breaks: () => numbers.filter((number) => number !== only) }),
    defined_only: () => ({ breaks: () => [...unknown, -1] }),
    in: (is) => ({ fits: is.in, breaks: () => numbers.filter((number) => !is.in.includes(number)) }),
    not_in: ({ notIn }) => ({ breaks: () => notIn }),
    example: ({ example }) => ({ examples: example }),
  };
  return propose(declared, rules, [...numbers.slice(1), ...numbers.slice(0, 1), ...unknown]);
}

/** true and false, and which of them break the rules of a bool field. */
export function proposeBools(declared: DeclaredRules): Proposals {
  const rules: RuleTable<BoolRules, boolean> = {
    const: ({ const: only }) => ({ fits: [only], breaks: () => [!only] }),
    example: ({ example }) => ({ examples: example }),
  };
  return propose(declared, rules, [true, false]);
}
