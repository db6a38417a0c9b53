import { expect, test } from "vitest";

import { type Cbor, CborTag, decodeCbor, encodeCbor } from "./cbor.ts";
import { mulberry, mutate } from "./testing/mutation.ts";
import { refusal } from "./testing/refusal.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

// RFC 8949 appendix A, as far as documents use it.
test.each<[string, Cbor]>([
  ["00", 0],
  ["17", 23],
  ["1818", 24],
  ["1903e8", 1000],
  ["1a000f4240", 1_000_000],
  ["1b000000e8d4a51000", 1_000_000_000_000],
  ["20", -1],
  ["3903e7", -1000],
  ["f4", false],
  ["f5", true],
  ["f6", null],
  ["4401020304", hex("01020304")],
  ["62c3bc", "ü"],
  ["8301820203820405", [1, [2, 3], [4, 5]]],
  [
    "a201020304",
    new Map([
      [1, 2],
      [3, 4],
    ]),
  ],
  ["c11a514b67b0", new CborTag(1, 1_363_896_240)],
])("%s is decoded, and encoded again to the same", (bytes, value) => {
  expect(decodeCbor(hex(bytes))).toEqual(value);
  expect(encodeCbor(value).toString("hex")).toBe(bytes);
});

test("arrays and maps may be of indefinite length", () => {
  expect(decodeCbor(hex("9f 01 82 02 03 9f 04 05 ff ff"))).toEqual([1, [2, 3], [4, 5]]);
  expect(decodeCbor(hex("bf 61 61 01 61 62 9f 02 03 ff ff"))).toEqual(
    new Map<string, Cbor>([
      ["a", 1],
      ["b", [2, 3]],
    ]),
  );
});

test.each([
  ["a number that could be shorter", "18 17"],
  ["a longer number that could be shorter", "1a 00 00 ff ff"],
  ["the longest number that could be shorter", "1b 00 00 00 00 ff ff ff ff"],
  ["a length that could be shorter", "58 01 00"],
  ["a number beyond 2^53", "1b 00 20 00 00 00 00 00 00"],
  ["a byte string of indefinite length", "5f 41 00 ff"],
  ["text of indefinite length", "7f 61 61 ff"],
  ["a map whose break is missing", "bf 01 02"],
  ["a map that breaks after a key", "bf 01 ff"],
  ["a break in a definite array", "81 ff"],
  ["a key twice", "a2 01 02 01 03"],
  ["a key that is a list", "a1 80 00"],
  ["a float", "fb 3ff199999999999a"],
  ["undefined", "f7"],
  ["a reserved length", "1c"],
  ["text that is not UTF-8", "61 ff"],
  ["a length beyond the bytes", "5a ff ff ff ff 00"],
  ["an array longer than the bytes", "9a ff ff ff ff 00"],
  ["deep nesting", "81".repeat(10) + "00"],
  ["deep tags", "c1".repeat(10) + "00"],
  ["bytes after the item", "00 00"],
  ["nothing", ""],
])("%s is refused", (_what, bytes) => {
  expect(refusal(() => decodeCbor(hex(bytes))).code).toBe("MALFORMED");
});

test("whatever is decoded from spoilt bytes is well-formed, and all else refused cleanly", () => {
  const below = mulberry(7);
  const seed = encodeCbor([
    new Map<string, Cbor>([
      ["a", hex("0102")],
      ["b", [1, -1000, "text", null]],
    ]),
    new CborTag(18, true),
  ]);
  let decoded = 0;
  for (let n = 0; n < 20_000; n++) {
    const bytes = mutate(seed, below);
    try {
      encodeCbor(decodeCbor(bytes));
      decoded++;
    } catch {
      expect(refusal(() => decodeCbor(bytes)).code).toBe("MALFORMED");
    }
  }
  expect(decoded).toBeGreaterThan(10);
});
