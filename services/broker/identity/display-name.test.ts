import fc from "fast-check";
import { expect, test } from "vitest";

import { parseDisplayName } from "./display-name.ts";

test("a name is kept as its owner writes it", () => {
  for (const name of ["ada@example.com", "Ada Lovelace", "octocat", "計算機 (work)"]) {
    expect(parseDisplayName(` ${name} `)).toBe(name);
  }
});

test("what is no text is no name", () => {
  for (const claim of [undefined, null, 7, {}, ["ada"]]) expect(parseDisplayName(claim)).toBe("");
});

test("whatever a provider sends, the name is one short line of visible text, and reading it again changes nothing", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 2000, size: "max" }), (text) => {
      const name = parseDisplayName(text);
      expect(name).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]|\s\s|^\s|\s$/u);
      expect(Array.from(name).length).toBeLessThanOrEqual(64);
      expect(parseDisplayName(name)).toBe(name);
    }),
  );
});
