import { file_agentkeys_broker_v1_account_service } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { file_agentkeys_broker_v1_broker_service } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { file_agentkeys_broker_v1_login_service } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { file_agentkeys_keys_v1_key_service } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { getOption } from "@bufbuild/protobuf";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { describe, expect, test } from "vitest";

import { matchesPattern } from "./pattern.ts";

const files = [
  file_agentkeys_broker_v1_account_service,
  file_agentkeys_broker_v1_broker_service,
  file_agentkeys_broker_v1_login_service,
  file_agentkeys_keys_v1_key_service,
];
const fields = files.flatMap(({ messages }) => messages.flatMap((message) => message.fields));
const patterns = fields.flatMap((field) => {
  const { type } = getOption(field, fieldRules);
  return type.case === "string" && type.value.pattern !== "" ? [type.value.pattern] : [];
});

test("the protos have patterns to match", () => {
  expect(patterns).toContain("^[0-9a-f]{64}$");
});

describe.each([...new Set(patterns)])("%s", (pattern) => {
  // Were there two ways to match a part, a text of this length would not be done before the test's time is up.
  const units = ["a", "0", "0x", "A_", "a@", " ", "\t a", "\u00e9", "-"];

  test.each(units)("is done with a mebibyte of %j and an end that fits nothing", (unit) => {
    const text = `${unit.repeat(Math.ceil(2 ** 20 / unit.length))}\u0000`;
    expect(matchesPattern(pattern, text)).toBe(false);
  });
});

describe("as RE2 would", () => {
  test.each([
    ["^\\s$", "\n", true],
    ["^\\s$", "\u00a0", false],
    ["^[^\\s@]+$", "a\u00a0b", true],
    ["^[^\\s@]+$", "a b", false],
    ["^.$", "\r", true],
    ["^.$", "\n", false],
    ["^[.]$", "x", false],
    ["^\\.$", ".", true],
    ["^.$", "\u{1f511}", true],
    ["^a$", "a\n", false],
    ["b", "abc", true],
  ])("%j and %j", (pattern, text, expected) => {
    expect(matchesPattern(pattern, text)).toBe(expected);
  });

  test.each(["(?P<x>a)", "\\pL", "[[:alpha:]]\\z", "\\S"])("or not at all: %s", (pattern) => {
    expect(() => matchesPattern(pattern, "a")).toThrow(SyntaxError);
  });
});
