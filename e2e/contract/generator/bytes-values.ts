import type { BytesRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

import { propose, type Proposals, type RuleTable, type Suggestion } from "./proposals.ts";
import type { DeclaredRules } from "./rules.ts";

/** Byte strings that keep, and that break, the rules of a bytes field. */
export function proposeBytes(declared: DeclaredRules): Proposals {
  return propose(declared, rules, [Uint8Array.of(0, 1, 0xfe, 0xff), new Uint8Array(0), filled(300)]);
}

const rules: RuleTable<BytesRules, Uint8Array> = {
  const: ({ const: only }) => ({ fits: [only], breaks: () => [joined(only, [1]), new Uint8Array(0)] }),
  len: ({ len }) => length(Number(len), Number(len)),
  min_len: ({ minLen }) => length(Number(minLen), Infinity),
  max_len: ({ maxLen }) => length(0, Number(maxLen)),
  prefix: ({ prefix }) => ({
    fits: [prefix, joined(prefix, [1, 2])],
    breaks: (good) => good.flatMap((bytes) => [joined([0x55], bytes), bytes.slice(1)]),
  }),
  suffix: ({ suffix }) => ({
    fits: [suffix, joined([1, 2], suffix)],
    breaks: (good) => good.flatMap((bytes) => [joined(bytes, [0x55]), bytes.slice(0, -1)]),
  }),
  contains: ({ contains }) => ({ fits: [contains, joined([1], contains, [2])], breaks: () => [new Uint8Array(0)] }),
  in: (is) => ({ fits: is.in, breaks: () => is.in.map((bytes) => joined(bytes, [1])) }),
  not_in: ({ notIn }) => ({ breaks: () => notIn }),
  ip: () => ({ fits: [filled(4), filled(16)], breaks: () => [filled(3), filled(17), new Uint8Array(0)] }),
  ipv4: () => ({ fits: [filled(4)], breaks: () => [filled(5), filled(16)] }),
  ipv6: () => ({ fits: [filled(16)], breaks: () => [filled(15), filled(4)] }),
  uuid: () => ({ fits: [filled(16)], breaks: () => [filled(15), filled(17)] }),
  example: ({ example }) => ({ examples: example }),
};

function length(least: number, most: number): Suggestion<Uint8Array> {
  return {
    fits: [filled(least), ...(most < Infinity ? [filled(most)] : [])],
    breaks: () => [...(least > 0 ? [filled(least - 1)] : []), ...(most < Infinity ? [filled(most + 1)] : [])],
  };
}

function filled(length: number): Uint8Array {
  return new Uint8Array(length).fill(0xa5);
}

function joined(...parts: (Uint8Array | number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
