import { toBinary } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Label, FieldDescriptorProto_Type } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "@agentkeys/gen/agentkeys/errors/v1/error_reason_pb";
import { Ignore, KnownRegex } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { describe, expect, test } from "vitest";

import { buildContract, buildSampleContract, rpcsOf } from "../descriptors.ts";
import { brokenRules } from "./judge.ts";
import { madeUpMessage } from "./made-up-message.ts";
import { messagesOf } from "./messages.ts";
import { UnknownRule } from "./rules.ts";

const sample = buildSampleContract().registry;
const sampleRpcs = rpcsOf([sample.getService("sample.v1.ZooService")!]);
const realRpcs = rpcsOf(buildContract().services);

describe("the messages that the contract tests are made of", () => {
  test("are valid, or break the rule that they are said to break, by protovalidate's own verdict", () => {
    for (const { input } of [...sampleRpcs, ...realRpcs]) {
      const { valid, broken } = messagesOf(input);
      for (const { message, title } of valid) expect(brokenRules(input, message), title).toEqual([]);
      for (const { message, title, field, reason } of broken) {
        expect(brokenRules(input, message), title).toContainEqual(expect.objectContaining({ field, reason }));
      }
    }
  });

  test("break every rule that the sample has", () => {
    const rules = sampleRpcs.flatMap(({ input }) => messagesOf(input).broken.map(({ rule }) => rule));
    expect([...new Set(rules)].sort()).toEqual(everyRuleOfTheSample);
  });

  test("name the reason that the field declares", () => {
    const request = sample.getMessage("sample.v1.CheckTextsRequest")!;
    const reasons = new Map(messagesOf(request).broken.map(({ field, reason }) => [field, ErrorReason[reason]]));
    expect(reasons.get("digest")).toBe("INVALID_ADDRESS");
    expect(reasons.get("tagged")).toBe("INVALID_REQUEST");
  });

  test("are the same in every run", () => {
    const bytes = (): string[] =>
      sampleRpcs.flatMap(({ input }) => {
        const { valid, broken } = messagesOf(input);
        return [...valid, ...broken].map(({ message }) => Buffer.from(toBinary(input, message)).toString("base64"));
      });
    expect(bytes()).toEqual(bytes());
  });

  test("are the examples where a field has some, and the unset field where that is valid", () => {
    const thing = madeUpMessage({ type: { case: "string", value: { pattern: "^[a-z]*$", example: ["red", "blue"] } } });
    expect(messagesOf(thing).valid.map(({ title }) => title)).toEqual([
      'color = "red"',
      'color = "blue"',
      "color = unset",
    ]);
  });

  test("go up to the limits and one beyond", () => {
    const thing = madeUpMessage({ type: { case: "string", value: { minLen: 2n, maxLen: 5n } } });
    const lengths = (titles: { title: string }[]): number[] =>
      titles.map(({ title }) => title.slice('color = "'.length, -1).length);
    expect(lengths(messagesOf(thing).valid)).toEqual(expect.arrayContaining([2, 5]));
    expect(lengths(messagesOf(thing).broken)).toEqual(expect.arrayContaining([1, 6]));
  });
});

describe("what the generator cannot test stops the run, and says which rule of which field it is", () => {
  test("a rule that it has no values for", () => {
    const thing = madeUpMessage({
      type: { case: "string", value: { wellKnown: { case: "wellKnownRegex", value: KnownRegex.HTTP_HEADER_NAME } } },
    });
    expect(() => messagesOf(thing)).toThrow(UnknownRule);
    expect(() => messagesOf(thing)).toThrow(/^made\.up\.Thing\.color declares the rule "string\.well_known_regex"/);
  });

  test("a rule for the items of a list that it has no values for", () => {
    const items = { type: { case: "string", value: { strict: true } } } as const;
    const thing = madeUpMessage({ type: { case: "repeated", value: { items } } }, { label: repeated });
    expect(() => messagesOf(thing)).toThrow(/^made\.up\.Thing\.color \(items\) declares the rule "string\.strict"/);
  });

  test("a pattern that it cannot sample and that has no example", () => {
    const thing = madeUpMessage({ type: { case: "string", value: { pattern: "(?i)^red$" } } });
    expect(() => messagesOf(thing)).toThrow(/made\.up\.Thing\.color .*string\.pattern.*example/);
  });

  test("an example that breaks a rule", () => {
    const thing = madeUpMessage({ type: { case: "string", value: { maxLen: 3n, example: ["purple"] } } });
    expect(() => messagesOf(thing)).toThrow('made.up.Thing.color: the example color = "purple" breaks string.max_len');
  });

  test("rules that no value keeps", () => {
    const thing = madeUpMessage({ type: { case: "string", value: { in: ["red"], notIn: ["red"] } } });
    expect(() => messagesOf(thing)).toThrow(/made\.up\.Thing\.color: no value was found that keeps its rules/);
  });

  test("a rule that no value breaks", () => {
    const thing = madeUpMessage(
      { type: { case: "uint32", value: { greaterThan: { case: "gte", value: 0 } } } },
      { type: uint32 },
    );
    expect(() => messagesOf(thing)).toThrow(
      'made.up.Thing.color: no value was found that breaks the rule "uint32.gte"',
    );
  });

  test("a rule that does not compile", () => {
    const thing = madeUpMessage({ cel: [{ id: "nonsense", expression: "this.no_such_field" }] });
    expect(() => messagesOf(thing)).toThrow(/no_such_field|compile/i);
  });

  test("but not a rule that is switched off", () => {
    const type = {
      case: "string",
      value: { wellKnown: { case: "wellKnownRegex", value: KnownRegex.HTTP_HEADER_NAME } },
    };
    const thing = madeUpMessage({ ignore: Ignore.ALWAYS, type } as Parameters<typeof madeUpMessage>[0]);
    expect(messagesOf(thing).broken).toEqual([]);
  });
});

const uint32 = FieldDescriptorProto_Type.UINT32;

const repeated = FieldDescriptorProto_Label.REPEATED;

const everyRuleOfTheSample = [
  "bool.const",
  "bytes.len",
  "bytes.max_len",
  "bytes.prefix",
  "cel[0]",
  "double.finite",
  "enum.defined_only",
  "enum.not_in",
  "fixed64.const",
  "float.lte",
  "int32.gt",
  "int32.gte",
  "int64.gt",
  "int64.lt",
  "map.keys.string.min_len",
  "map.max_pairs",
  "map.values.uint32.lte",
  "message.oneof",
  "range.order",
  "repeated.items.enum.defined_only",
  "repeated.items.string.max_len",
  "repeated.items.string.min_len",
  "repeated.max_items",
  "repeated.min_items",
  "repeated.unique",
  "required",
  "sint32.not_in",
  "string.email",
  "string.in",
  "string.len",
  "string.max_bytes",
  "string.max_len",
  "string.min_bytes",
  "string.min_len",
  "string.not_contains",
  "string.pattern",
  "string.prefix",
  "string.suffix",
  "string.uuid",
  "uint32.gte",
  "uint32.lt",
  "uint32.lte",
  "uint64.in",
];
