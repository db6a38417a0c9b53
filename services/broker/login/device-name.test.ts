import fc from "fast-check";
import { expect, test } from "vitest";

import { parseDeviceName } from "./device-name.ts";

test("a name is kept as people write it", () => {
  for (const name of ["ada's MacBook (work)", "Büro 3", "計算機", "laptop-7.local", "مكتب"]) {
    expect(parseDeviceName(`  ${name} `)).toBe(name);
  }
});

test("what cannot be seen, turns the text round or breaks the line becomes a space", () => {
  expect(parseDeviceName("a\u202egnp.exe")).toBe("a gnp.exe");
  expect(parseDeviceName("a\u2066\u2069b\u200bc\ufeffd")).toBe("a b c d");
  expect(parseDeviceName("a\u0085b\u2028c\u2029d\r\ne\tf\u00a0g")).toBe("a b c d e f g");
  expect(parseDeviceName("\u200b\u00ad \u2800".slice(0, 3))).toBe("");
});

test("whatever comes, the name is one line of visible text, and reading it again changes nothing", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 64 }), (text) => {
      const name = parseDeviceName(text);
      expect(name).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]|\s\s|^\s|\s$/u);
      expect(parseDeviceName(name)).toBe(name);
    }),
  );
});
