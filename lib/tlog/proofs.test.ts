import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  consistencyProof,
  EMPTY_ROOT,
  Frontier,
  inclusionProof,
  leafHash,
  rootOf,
  type SubtreeHashes,
  tileHash,
  TlogError,
  verifyConsistency,
  verifyInclusion,
} from "./index.ts";

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const bytes = (text: string): Uint8Array => Buffer.from(text, "base64");

/** Subtree hashes straight from the definition in RFC 6962, over leaves in memory. */
const over =
  (leaves: readonly Uint8Array[]): SubtreeHashes =>
  (height, index) =>
    tileHash(leaves.slice(index * 2 ** height, (index + 1) * 2 ** height));

const leavesOf = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => leafHash(Buffer.from(`e${i}`)));
const leaves = leavesOf(600);
const hashes = over(leaves);
const head = async (size: number): Promise<{ size: number; root: Uint8Array }> => ({
  size,
  root: await rootOf(size, hashes),
});

describe("the reference vectors of Certificate Transparency", () => {
  const entries = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
  const reference = entries.map((hex) => leafHash(Buffer.from(hex, "hex")));
  const roots = [
    "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
    "+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU=",
    "rra8/idLcKFPsGel5VeCZNsPqbUa9eC6FZFY8yngbnc=",
    "037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=",
    "Tju7H3tHjc/nH7YxYxUZo7yhLJrvyhYSv85ME6hiZNQ=",
    "duZ9rbzfHhDht03cYIq9L5jfsW+851J3tSMqEn8gh+8=",
    "3bib5AOAnjJXUNPSY814kpwpQreUKjS3fhIslZSnTIw=",
    "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
  ];
  const [a, b, c, d, e, f, g] = [
    "lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=",
    "Xwg/ChozygdqlSeYMlgNs+DvRYS9/x9UyKNg9Q3jAx4=",
    "a0eq8p7jwq+a+Im8H7klTavTEXfxYjLdaqsDXKOb9uQ=",
    "vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=",
    "yoVOoSjtBQtBs1/8G4e46yveRh6eO1WW7Oa51ZdaCuA=",
    "DrxdNDf74tsVi58Sah0RjjCBgQMdCpSfje3t68VY72o=",
    "sIaT7C5yFZcTBkHoIR5+7cy0wmQTlj7ubB4u0W/7Gl8=",
  ];

  test("roots of 0 to 8 entries", async () => {
    expect(Buffer.from(EMPTY_ROOT).toString("hex")).toBe(
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
    for (const [i, root] of roots.entries()) {
      expect(base64(Frontier.empty.append(reference.slice(0, i + 1)).root())).toBe(root);
      expect(base64(await rootOf(i + 1, over(reference)))).toBe(root);
    }
  });

  test.each([
    [0, 1, []],
    [0, 8, [a, b, c]],
    [5, 8, [d, e, roots[3]]],
    [2, 3, [roots[1]]],
    [1, 5, [roots[0], b, d]],
  ])("inclusion of leaf %i in %i", async (index, size, expected) => {
    const proof = await inclusionProof(index, size, over(reference));
    expect(proof.map(base64)).toEqual(expected);
    verifyInclusion(reference[index]!, index, { size, root: bytes(roots[size - 1]!) }, proof);
  });

  test.each([
    [1, 1, []],
    [1, 8, [a, b, c]],
    [6, 8, [f, e, roots[3]]],
    [2, 5, [b, d]],
    [6, 7, [f, g, roots[3]]],
  ])("consistency of %i with %i", async (from, to, expected) => {
    const proof = await consistencyProof(from, to, over(reference));
    expect(proof.map(base64)).toEqual(expected);
    const [earlier, later] = [from, to].map((size) => ({ size, root: bytes(roots[size - 1]!) }));
    verifyConsistency(earlier!, later!, proof);
  });
});

test("every proof for every pair of sizes up to 40 verifies", async () => {
  for (let size = 0; size <= 40; size++) {
    const here = await head(size);
    for (let index = 0; index < size; index++) {
      verifyInclusion(leaves[index]!, index, here, await inclusionProof(index, size, hashes));
    }
    for (let from = 0; from <= size; from++) {
      verifyConsistency(await head(from), here, await consistencyProof(from, size, hashes));
    }
  }
});

/** A size, and something smaller. */
const sizeAndLess = fc
  .integer({ min: 1, max: leaves.length })
  .chain((size) => fc.tuple(fc.constant(size), fc.nat({ max: size - 1 })));

/** What a proof may be turned into. */
const forgery = fc.oneof(
  fc.record({ kind: fc.constant("flip" as const), at: fc.nat(), bit: fc.nat({ max: 255 }) }),
  fc.record({ kind: fc.constant("drop" as const), at: fc.nat(), bit: fc.constant(0) }),
  fc.record({ kind: fc.constant("double" as const), at: fc.nat(), bit: fc.constant(0) }),
  fc.record({ kind: fc.constant("swap" as const), at: fc.nat(), bit: fc.constant(0) }),
  fc.record({ kind: fc.constant("truncate" as const), at: fc.nat(), bit: fc.constant(0) }),
  fc.record({ kind: fc.constant("append" as const), at: fc.nat(), bit: fc.nat({ max: 255 }) }),
);

function forged(
  proof: readonly Uint8Array[],
  { kind, at, bit }: { kind: string; at: number; bit: number },
): Uint8Array[] {
  const i = proof.length === 0 ? 0 : at % proof.length;
  switch (kind) {
    case "flip":
      return proof.map((one, k) =>
        k === i ? one.map((byte, n) => (n === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)) : one,
      );
    case "drop":
      return proof.filter((_, k) => k !== i);
    case "double":
      return proof.flatMap((one, k) => (k === i ? [one, one] : [one]));
    case "swap":
      return proof.map((_, k) => proof[k === i ? (i + 1) % proof.length : k === (i + 1) % proof.length ? i : k]!);
    case "truncate":
      return proof.slice(0, i);
    default:
      return [...proof, Buffer.alloc(32, bit)];
  }
}

const same = (one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean =>
  one.map(base64).join() === other.map(base64).join();
const refused = expect.objectContaining({ name: "TlogError", code: "PROOF" }) as TlogError;

describe("whatever is done to a proof", () => {
  test("of inclusion, it is refused", async () => {
    await fc.assert(
      fc.asyncProperty(sizeAndLess, forgery, async ([size, index], change) => {
        const proof = await inclusionProof(index, size, hashes);
        const here = await head(size);
        verifyInclusion(leaves[index]!, index, here, proof);
        const changed = forged(proof, change);
        fc.pre(!same(changed, proof));
        expect(() => verifyInclusion(leaves[index]!, index, here, changed)).toThrow(refused);
      }),
      { numRuns: 300 },
    );
  });

  test("of consistency, it is refused", async () => {
    await fc.assert(
      fc.asyncProperty(sizeAndLess, forgery, async ([size, from], change) => {
        const proof = await consistencyProof(from, size, hashes);
        const [earlier, later] = [await head(from), await head(size)];
        verifyConsistency(earlier, later, proof);
        const changed = forged(proof, change);
        fc.pre(!same(changed, proof));
        expect(() => verifyConsistency(earlier, later, changed)).toThrow(refused);
      }),
      { numRuns: 300 },
    );
  });

  test("a good proof is good for nothing else: not another entry, number, size or root", async () => {
    await fc.assert(
      fc.asyncProperty(sizeAndLess, fc.nat({ max: 599 }), async ([size, index], other) => {
        const proof = await inclusionProof(index, size, hashes);
        const here = await head(size);
        if (other !== index) {
          expect(() => verifyInclusion(leaves[other]!, index, here, proof)).toThrow(refused);
          expect(() => verifyInclusion(leaves[index]!, other, here, proof)).toThrow(refused);
        }
        const elsewhere = await head(other + 1);
        if (elsewhere.size !== size) {
          expect(() => verifyInclusion(leaves[index]!, index, { ...here, root: elsewhere.root }, proof)).toThrow(
            refused,
          );
          expect(() => verifyConsistency(here, { ...here, root: elsewhere.root }, [])).toThrow(refused);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("a log that forked, was rewritten or cut off cannot be made to look as if it went on", async () => {
    await fc.assert(
      fc.asyncProperty(sizeAndLess, fc.nat(), async ([size, from], at) => {
        fc.pre(from > 0);
        const place = at % from;
        const other = over(leaves.map((leaf, i) => (i === place ? leafHash(Buffer.from("another")) : leaf)));
        const rewritten = { size, root: await rootOf(size, other) };
        const earlier = await head(from);
        for (const proof of [await consistencyProof(from, size, other), await consistencyProof(from, size, hashes)]) {
          expect(() => verifyConsistency(earlier, rewritten, proof)).toThrow(refused);
        }
        expect(() => verifyConsistency(rewritten, earlier, [])).toThrow(refused);
      }),
      { numRuns: 200 },
    );
  });
});

test("an edge that grows in steps is that of the whole", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 40 }), { maxLength: 12 }), (steps) => {
      let [edge, size] = [Frontier.empty, 0];
      for (const step of steps) {
        const before = edge.root();
        const next = edge.append(leaves.slice(size, size + step));
        expect(base64(edge.root())).toBe(base64(before));
        [edge, size] = [next, size + step];
      }
      expect(edge.size).toBe(size);
      expect(base64(edge.root())).toBe(base64(Frontier.empty.append(leaves.slice(0, size)).root()));
    }),
  );
});

test("what is no proof at all is called malformed", () => {
  const malformed = expect.objectContaining({ code: "MALFORMED" }) as TlogError;
  const root = leaves[0]!;
  expect(() => verifyInclusion(root.slice(1), 0, { size: 1, root }, [])).toThrow(malformed);
  expect(() => verifyInclusion(root, 0.5, { size: 1, root }, [])).toThrow(malformed);
  expect(() => verifyInclusion(root, -1, { size: 1, root }, [])).toThrow(malformed);
  expect(() => verifyInclusion(root, 0, { size: 2 ** 53, root }, [])).toThrow(malformed);
  expect(() => verifyConsistency({ size: 1, root }, { size: 2, root }, [Buffer.alloc(31)])).toThrow(malformed);
  expect(() => verifyConsistency({ size: 0, root }, { size: 2, root }, [])).toThrow(refused);
});

test("sizes beyond 32 bits are handled", () => {
  const size = 2 ** 40;
  // A tree whose leaves are all the same has one hash on each level.
  const levels = [leaves[0]!];
  for (let height = 1; height <= 40; height++) levels.push(tileHash([levels[height - 1]!, levels[height - 1]!]));
  const root = levels[40]!;
  verifyInclusion(leaves[0]!, size - 7, { size, root }, levels.slice(0, 40));
  expect(() => verifyInclusion(leaves[0]!, size - 7, { size, root }, levels.slice(0, 39))).toThrow(refused);
});
