import { describe, expect, test } from "vitest";

import { Json } from "./json.ts";
import { refusal } from "./testing/refusal.ts";

const parse = (text: string): Json => Json.parse(Buffer.from(text), "it");
const compact = (text: string): Json => Json.parseCompact(Buffer.from(text), "it");

test("values are read by their place, and what is wrong names the place", () => {
  const json = parse('{"a":[{"b":"text"},{"b":7}],"t":"2026-03-01T12:00:00Z","hex":"0aff"}');
  expect(json.field("a").list()[0]?.field("b").text()).toBe("text");
  expect(json.field("t").time()).toEqual(new Date("2026-03-01T12:00:00Z"));
  expect(json.field("hex").hex(2)).toEqual(Buffer.of(0x0a, 0xff));
  expect(json.optional("none")).toBeUndefined();
  expect(refusal(() => json.field("a").list()[1]?.field("b").text())).toEqual({
    code: "MALFORMED",
    message: "it.a[1].b is not text",
  });
  expect(refusal(() => json.field("none")).message).toBe('it has no "none"');
  expect(refusal(() => json.only(["a", "t"])).message).toBe("it has a field that is unknown");
  expect(json.only(["a", "t", "hex", "more"])).toBe(json);
});

test("what every object inherits is no field", () => {
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
    expect(refusal(() => parse("{}").field(name)).code).toBe("MALFORMED");
  }
});

describe("a value is refused that is not what was asked for:", () => {
  test.each<[string, (json: Json) => unknown]>([
    ['"0A"', (json) => json.hex()],
    ['"0"', (json) => json.hex()],
    ['"0a"', (json) => json.hex(2)],
    ['"0A"', (json) => json.anyHex(2)],
    ['"zz"', (json) => json.anyHex(1)],
    ['"AB="', (json) => json.base64()],
    ['"AB=="', (json) => json.base64url()],
    ['"A B="', (json) => json.base64()],
    ['"AB"', (json) => json.base64()],
    ['"2026-03-01"', (json) => json.time()],
    ['"2026-02-30T12:00:00Z"', (json) => json.time()],
    ['"2026-03-01T12:00:00+01:00"', (json) => json.time()],
    ["1.5", (json) => json.integer()],
    ["-1", (json) => json.integer()],
    ["9007199254740993", (json) => json.integer()],
    ['"1"', (json) => json.integer()],
    ["{}", (json) => json.list()],
    ["[]", (json) => json.field("a")],
    ["null", (json) => json.field("a")],
    ["null", (json) => json.text()],
  ])("%s", (text, read) => {
    expect(refusal(() => read(parse(text))).code).toBe("MALFORMED");
  });
});

test("one of the known values is read, and any other is unsupported", () => {
  expect(parse('"a"').oneOf(["a", "b"])).toBe("a");
  expect(refusal(() => parse('"c"').oneOf(["a", "b"])).code).toBe("UNSUPPORTED");
  expect(refusal(() => parse('"1"').oneOf([1])).code).toBe("UNSUPPORTED");
});

test("text that is no JSON is refused without being quoted", () => {
  for (const text of ["", "{", "{'secret':1}", "\uFEFF{}", '{"a":1}x']) {
    expect(refusal(() => parse(text))).toEqual({ code: "MALFORMED", message: "it is not JSON" });
  }
  expect(refusal(() => Json.parse(Buffer.of(0x22, 0xff, 0x22), "it")).code).toBe("MALFORMED");
});

test("compact JSON has one form", () => {
  expect(compact('{"a":[1,"ü"]}').field("a").list()).toHaveLength(2);
  for (const text of [
    '{"a": 1}',
    ' {"a":1}',
    '{"a":1}\n',
    '{"a":1,"a":1}',
    '{"\\u0061":1}',
    '{"a":1.0}',
    '{"a":1e0}',
  ]) {
    expect(refusal(() => compact(text)).message).toBe("it is not compact JSON");
  }
  expect(refusal(() => compact("[".repeat(100_000) + "]".repeat(100_000))).code).toBe("MALFORMED");
});
