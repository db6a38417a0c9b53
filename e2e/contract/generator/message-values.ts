import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import { DurationSchema, EmptySchema, TimestampSchema } from "@bufbuild/protobuf/wkt";

import type { Proposals } from "./proposals.ts";
import { type DeclaredRules, UnknownRule } from "./rules.ts";

/** Makes the messages for a field of a message type; hands in the generator itself, which stands above this file. */
export type Nest = (desc: DescMessage) => { valid: readonly Message[]; broken: readonly NestedBreak[] };

/** A message with one rule of it, or of a message inside it, broken. */
export interface NestedBreak {
  rule: string;
  message: Message;
}

/** Messages for a field of a message type; those of google.protobuf have no fields to vary, only values to know. */
export function proposeMessages(desc: DescMessage, declared: DeclaredRules, nest: Nest): Proposals {
  const [rule] = declared.type?.names ?? [];
  if (rule !== undefined) throw new UnknownRule(declared.place, `${declared.type?.kind ?? ""}.${rule}`);
  const known = wellKnown[desc.typeName];
  if (known !== undefined) return { fits: known, examples: [], breaks: [] };
  if (desc.typeName.startsWith("google.protobuf.")) {
    throw new UnknownRule(declared.place, `a value of type ${desc.typeName}`);
  }
  const { valid, broken } = nest(desc);
  return {
    fits: valid,
    examples: [],
    breaks: broken.map(({ rule, message }) => ({ rule, values: () => [message] })),
  };
}

const wellKnown: Readonly<Record<string, readonly Message[]>> = {
  [EmptySchema.typeName]: [create(EmptySchema)],
  [TimestampSchema.typeName]: [
    create(TimestampSchema, { seconds: 1_700_000_000n, nanos: 5_000_000 }),
    create(TimestampSchema),
  ],
  [DurationSchema.typeName]: [create(DurationSchema, { seconds: 90n, nanos: 500_000_000 }), create(DurationSchema)],
};
