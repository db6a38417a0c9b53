import { describe, expect, test } from "vitest";

import { comparePins } from "./pins.ts";

const ZERO = "0".repeat(64);
const CODE = "ab".repeat(32);
const pcrs = (pinned: Record<string, string>, found: Record<string, string>) => {
  const [first, ...rest] = Object.entries(pinned).map(([name, value]) => ({ name, values: [value] as [string] }));
  if (first === undefined) throw new Error("nothing is pinned");
  return comparePins([first, ...rest], found, "MEASUREMENT", "the code");
};

describe("pins", () => {
  test("are all compared", () => {
    expect(pcrs({ pcr4: "cd", pcr11: CODE }, { pcr4: "cd", pcr11: CODE, pcr0: "ef" })).toEqual({
      pcr4: "cd",
      pcr11: CODE,
    });
    expect(() => pcrs({ pcr4: "cd", pcr11: CODE }, { pcr4: "cd", pcr11: "ef" })).toThrow("pcr11 is ef, expected ab");
    expect(() => pcrs({ pcr4: "cd" }, { pcr11: CODE })).toThrow("pcr4 is pinned, but the evidence has none");
  });

  test("of zeros match nothing, since nothing was measured", () => {
    for (const name of ["pcr4", "pcr12", "chip_id"]) {
      expect(() => pcrs({ [name]: ZERO, pcr7: CODE }, { [name]: ZERO, pcr7: CODE })).toThrow(`${name} is zero`);
    }
    expect(() => pcrs({ pcr4: "" }, { pcr4: "" })).toThrow("pcr4 is zero");
  });
});
