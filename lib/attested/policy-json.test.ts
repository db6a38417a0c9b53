import { describe, expect, test } from "vitest";

import { mulberry } from "@agentkeys/lib/evidence/testing/mutation";

import { parsePolicyJson } from "./policy-json.ts";

/** Any value of JSON, with names and texts that look like what it is written with. */
function anyValue(below: (bound: number) => number, depth: number): unknown {
  const texts = ["", "a", "b", '"', "\\", '\\"', "{", "}", "[", "]", ",", ":", '":', "a:b", "\u00e4", "__proto__x"];
  const text = (): string => texts[below(texts.length)] ?? "";
  switch (below(depth > 0 ? 7 : 4)) {
    case 0:
      return text();
    case 1:
      return below(100) - 50;
    case 2:
      return below(2) === 0;
    case 3:
      return null;
    case 4:
      return Array.from({ length: below(4) }, () => anyValue(below, depth - 1));
    default:
      return Object.fromEntries(Array.from({ length: below(5) }, () => [text(), anyValue(below, depth - 1)]));
  }
}

describe("a member given twice", () => {
  test("is found in no text where none is", () => {
    const below = mulberry(1);
    for (let n = 0; n < 3000; n++) {
      const value = anyValue(below, 5);
      const text = JSON.stringify(value, null, below(3));
      // Not with `value` itself: V8 13.6 (Node 24) takes a name that begins with an escape for another such one that it read in the same
      // place before. No policy has such names, and one that is read so is not known, and refused.
      expect(parsePolicyJson(text), text).toEqual(JSON.parse(text));
    }
  });

  test("is found wherever it stands, and however it is written", () => {
    const below = mulberry(2);
    const escaped = (name: string): string => {
      const units = Array.from(name, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
      return `"${units.join("")}"`;
    };
    for (let n = 0; n < 2000; n++) {
      const name = ["a", '"', ":", "}", "version"][below(5)] ?? "";
      const [first, again] = [JSON.stringify(name), below(2) === 0 ? JSON.stringify(name) : escaped(name)];
      const others = Object.entries(anyValue(below, 3) ?? {})
        .filter(([other]) => other !== name)
        .map(([other, value]) => `${JSON.stringify(other)}:${JSON.stringify(value)}`);
      const members = [`${first}:${JSON.stringify(anyValue(below, 3))}`, ...new Set(others), `${again} : 1`];
      const object = `{${members.join(" , ")}}`;
      const text = [object, `[0,${object}]`, `{"outer":{"inner":[${object}]}}`][below(3)] ?? "";
      expect(() => parsePolicyJson(text), text).toThrow("is there twice");
    }
  });
});
