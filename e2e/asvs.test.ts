import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const section =
  /^## OWASP ASVS 5\.0$(.*?)(?=^## |(?![\s\S]))/ms.exec(readFileSync(join(root, "SECURITY.md"), "utf8"))?.[1] ?? "";
const rows = section
  .split("\n")
  .filter((line) => line.startsWith("|"))
  .map((line) => line.split("|").map((cell) => cell.trim()))
  .map(([, number = "", asks = "", stands = "", tested = ""]) => ({ number, asks, stands, tested }))
  .filter(({ number }) => /^(\d+\.\d+\.\d+|others)$/.test(number));

/** How many requirements each section has (OWASP ASVS 5.0.0, chapters V6, V7, V9 and V10). */
const sections: Record<string, number> = {
  ...{ "6.1": 3, "6.2": 12, "6.3": 8, "6.4": 6, "6.5": 8, "6.6": 4, "6.7": 2, "6.8": 4 },
  ...{ "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2 },
  ...{ "9.1": 3, "9.2": 4 },
  ...{ "10.1": 2, "10.2": 3, "10.3": 5, "10.4": 16, "10.5": 5, "10.6": 2, "10.7": 3 },
};
const all = Object.entries(sections).flatMap(([name, count]) =>
  Array.from({ length: count }, (_, i) => `${name}.${i + 1}`),
);

/** The numbers in a text, "6.2.1 to 6.2.12" being twelve. */
function numbersIn(text: string): string[] {
  return [...text.matchAll(/(\d+\.\d+)\.(\d+)(?: to \1\.(\d+))?/g)].flatMap(([, name = "", first = "", last = first]) =>
    Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => `${name}.${Number(first) + i}`),
  );
}

describe("the table of ASVS requirements in SECURITY.md", () => {
  test("has each requirement once, in a line of its own or among those that do not apply", () => {
    const named = rows.flatMap(({ number, stands }) => (number === "others" ? numbersIn(stands) : [number]));
    expect(named.toSorted()).toEqual(all.toSorted());
  });

  test("says of each how it stands, and why where it is not met", () => {
    for (const { number, stands } of rows)
      expect(stands, number).toMatch(/^(met|partly|not met|do not apply)\b.{10,}/s);
  });

  test("sums up what is not met, and what is partly met", () => {
    const [, notMet = "", partly = ""] = /^Not met: (.*) Partly: (.*)$/m.exec(section) ?? [];
    const those = (begin: string) => rows.filter(({ stands }) => stands.startsWith(begin)).map(({ number }) => number);
    expect(numbersIn(notMet)).toEqual(those("not met"));
    expect(numbersIn(partly)).toEqual(those("partly"));
  });

  test("names tests and files that exist", () => {
    const paths = [...section.matchAll(/`((?:e2e|lib|services|daemon)\/[^`]+)`/g)].map(([, path = ""]) => path);
    expect(paths.length).toBeGreaterThan(100);
    expect([...new Set(paths)].filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test("has a test for what is met, but for what no test can see", () => {
    const untested = rows.filter(({ stands, tested }) => stands.startsWith("met") && tested === "none");
    expect(untested.map(({ number }) => number)).toEqual(["6.5.3", "10.2.3"]);
  });
});
