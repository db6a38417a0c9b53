import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { encodeBundle, Frontier, leafHash, parseBundle, tileHash, tilePath, tilesOf } from "./index.ts";

const paths = (size: number, from?: number): string[] => tilesOf(size, from).map(tilePath);

describe("tiles", () => {
  test.each([
    [{ level: 0, index: 1234067, width: 256 }, "tile/0/x001/x234/067"],
    [{ level: 0, index: 0, width: 256 }, "tile/0/000"],
    [{ level: 2, index: 1000, width: 5 }, "tile/2/x001/000.p/5"],
    [{ level: "entries" as const, index: 42, width: 255 }, "tile/entries/042.p/255"],
  ])("%j stands at %s", (name, path) => {
    expect(tilePath(name)).toBe(path);
  });

  test("of a log of 70,000 entries are those that the specification lists", () => {
    const names = tilesOf(70_000);
    const count = (level: number | "entries", width: number): number =>
      names.filter((name) => name.level === level && name.width === width).length;
    expect([count(0, 256), count(0, 112), count(1, 256), count(1, 17), count(2, 1)]).toEqual([273, 1, 1, 1, 1]);
    expect([count("entries", 256), count("entries", 112)]).toEqual([273, 1]);
    expect(names).toHaveLength(277 + 274);
  });

  test("of a log of 256 entries are a full one and one above it", () => {
    expect(paths(256)).toEqual(["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
  });

  test("that a log has beyond what it had before are all that its growth touched", () => {
    expect(paths(0)).toEqual([]);
    expect(paths(300, 300)).toEqual([]);
    expect(paths(300, 299)).toEqual(["tile/entries/001.p/44", "tile/0/001.p/44"]);
    expect(paths(513, 200)).toEqual([
      ...["tile/entries/000", "tile/0/000", "tile/entries/001", "tile/0/001", "tile/entries/002.p/1", "tile/0/002.p/1"],
      "tile/1/000.p/2",
    ]);
    fc.assert(
      fc.property(fc.nat({ max: 200_000 }), fc.nat({ max: 200_000 }), (a, b) => {
        const [from, size] = [Math.min(a, b), Math.max(a, b)];
        const known = new Set(paths(from));
        expect(paths(size).filter((path) => !known.has(path))).toEqual(paths(size, from));
      }),
      { numRuns: 20 },
    );
  });

  test("of 256 hashes have the root of the tree of 256 leaves", () => {
    const leaves = Array.from({ length: 256 }, (_, i) => leafHash(Uint8Array.of(i)));
    expect(tileHash(leaves)).toEqual(Frontier.empty.append(leaves).root());
  });
});

describe("a bundle", () => {
  test("gives back its entries, and is refused when it is anything but a bundle of that many", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 10 }),
        fc.nat(),
        (entries, at) => {
          const bundle = encodeBundle(entries);
          const read = parseBundle(bundle, entries.length);
          expect(read.map((entry) => [...entry])).toEqual(entries.map((entry) => [...entry]));
          const malformed = expect.objectContaining({ code: "MALFORMED" }) as Error;
          expect(() => parseBundle(bundle.subarray(0, at % bundle.length), entries.length)).toThrow(malformed);
          expect(() => parseBundle(bundle, entries.length + 1)).toThrow(malformed);
          expect(() => parseBundle(bundle, entries.length - 1)).toThrow(malformed);
          expect(() => parseBundle(Buffer.concat([bundle, Uint8Array.of(0)]), entries.length)).toThrow(malformed);
        },
      ),
    );
  });

  test("holds no entry longer than 65,535 bytes", () => {
    expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(RangeError);
  });
});
