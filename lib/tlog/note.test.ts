import { generateKeyPairSync } from "node:crypto";

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  createNoteSigner,
  EMPTY_ROOT,
  formatReceipt,
  formatVerifierKey,
  Frontier,
  inclusionProof,
  leafHash,
  openNote,
  parseVerifierKey,
  signCheckpoint,
  signNote,
  tileHash,
  type TlogError,
  verifierKey,
  verifyCheckpoint,
  verifyReceipt,
} from "./index.ts";

const code = (expected: string): TlogError =>
  expect.objectContaining({ name: "TlogError", code: expected }) as TlogError;
const signer = createNoteSigner("signer.example/log", Buffer.alloc(32, 7));
const other = createNoteSigner("signer.example/log", Buffer.alloc(32, 8));
const vkey = formatVerifierKey(signer.key);

describe("a note", () => {
  const example = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
  const note =
    "This is an example message.\n\n" +
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

  test("of the specification opens with the key of the specification", () => {
    expect(openNote(note, parseVerifierKey(example))).toBe("This is an example message.\n");
    expect(formatVerifierKey(parseVerifierKey(example))).toBe(example);
  });

  test("opens with the key that signed it, among signatures by others", () => {
    const text = "one\n\nthree\n";
    const signed = signNote(text, signer);
    expect(openNote(signed, parseVerifierKey(vkey))).toBe(text);
    expect(openNote(`${text}\n${other.signatureLine(text)}${signer.signatureLine(text)}`, signer.key)).toBe(text);
  });

  test("of another key, or without a signature by this one, does not open", () => {
    const signed = signNote("text\n", other);
    expect(() => openNote(signed, signer.key)).toThrow(code("SIGNATURE"));
    // The same name and id, but another key: ids are short, and can be made to collide.
    expect(() => openNote(signed, { ...other.key, publicKey: signer.key.publicKey })).toThrow(code("SIGNATURE"));
  });

  test("with a good and a wrong signature by the same key does not open", () => {
    const wrong = signer.signatureLine("something else\n");
    expect(() => openNote(signNote("text\n", signer) + wrong, signer.key)).toThrow(code("SIGNATURE"));
    expect(() => openNote("text\n\n" + wrong + signer.signatureLine("text\n"), signer.key)).toThrow(code("SIGNATURE"));
  });

  test.each([
    ["nothing", ""],
    ["no signature", "text\n\n"],
    ["no blank line", "text\n" + signer.signatureLine("text\n")],
    ["no newline at the end", signNote("text\n", signer).slice(0, -1)],
    ["a carriage return", signNote("text\n", signer).replace("text\n", "text\r\n")],
    ["another dash", signNote("text\n", signer).replace("—", "-")],
    ["base64 without padding", signNote("text\n", signer).replace("=\n", "\n")],
    [
      "base64 with loose bits",
      signNote("text\n", signer).replace(/.=\n$/, (end) => `${end[0] === "B" ? "C" : "B"}=\n`),
    ],
    ["a third field", signNote("text\n", signer).replace(/\n$/, " x\n")],
    ["half a character", signNote("text\n", signer).replace("text", "\ud800")],
  ])("with %s does not open", (_, text) => {
    expect(() => openNote(text, signer.key)).toThrow(expect.objectContaining({ name: "TlogError" }) as Error);
  });

  test("any character of which was changed does not open, or says the same", () => {
    const signed = signNote("first line\nsecond line\n", signer);
    fc.assert(
      fc.property(fc.nat({ max: signed.length - 1 }), fc.string({ minLength: 0, maxLength: 2 }), (at, put) => {
        const changed = signed.slice(0, at) + put + signed.slice(at + 1);
        fc.pre(changed !== signed);
        expect(() => openNote(changed, signer.key)).toThrow(expect.objectContaining({ name: "TlogError" }) as Error);
      }),
      { numRuns: 500 },
    );
  });
});

describe("a verifier key", () => {
  test.each([
    "signer.example/log",
    vkey.replace("+", " "),
    vkey.replace(/\+[0-9a-f]{8}\+/, "+00000000+"),
    vkey.slice(0, -4),
    vkey.replace("+A", "+B"),
    ` ${vkey}`,
    `${vkey}\n`,
  ])("%j is refused", (text) => {
    expect(() => parseVerifierKey(text)).toThrow(code("MALFORMED"));
  });

  test("is one of an Ed25519 key, with a name", () => {
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    expect(() => verifierKey("a", publicKey)).toThrow(code("MALFORMED"));
    for (const name of ["", "a b", "a+b", "a\u00a0b", "a\nb"]) {
      expect(() => verifierKey(name, signer.key.publicKey)).toThrow(code("MALFORMED"));
    }
  });
});

describe("a checkpoint", () => {
  const root = Buffer.alloc(32, 5);

  test("is read back with the log's key, or its text form", () => {
    const expected = { origin: "signer.example/log", size: 2 ** 40, root };
    const note = signCheckpoint({ size: 2 ** 40, root }, signer);
    expect(verifyCheckpoint(note, vkey)).toEqual(expected);
    expect(verifyCheckpoint(note, signer.key)).toEqual(expected);
    expect(verifyCheckpoint(signCheckpoint({ size: 0, root: EMPTY_ROOT }, signer), vkey).size).toBe(0);
  });

  test("of another log is refused, though the key is the same", () => {
    const text = `elsewhere.example/log\n1\n${root.toString("base64")}\n`;
    expect(() => verifyCheckpoint(signNote(text, signer), vkey)).toThrow(code("ORIGIN"));
  });

  const hash = root.toString("base64");
  test.each([
    `signer.example/log\n01\n${hash}\n`,
    `signer.example/log\n-1\n${hash}\n`,
    `signer.example/log\n1e3\n${hash}\n`,
    `signer.example/log\n9007199254740992\n${hash}\n`,
    `signer.example/log\n1\n${hash.slice(4)}\n`,
    `signer.example/log\n1\n${hash}\nextension\n`,
    `signer.example/log\n1\n`,
    `\n1\n${hash}\n`,
  ])("%j is none, though it is signed", (text) => {
    expect(() => verifyCheckpoint(signNote(text, signer), vkey)).toThrow(code("MALFORMED"));
  });
});

describe("a receipt", () => {
  const entries = Array.from({ length: 20 }, (_, i) => Buffer.from(`entry ${i}`));
  const leaves = entries.map(leafHash);
  const edge = Frontier.empty.append(leaves);
  const checkpoint = signCheckpoint({ size: 20, root: edge.root() }, signer);
  const receiptOf = async (index: number): Promise<string> => {
    const proof = await inclusionProof(index, 20, (height, i) =>
      tileHash(leaves.slice(i << height, (i + 1) << height)),
    );
    return formatReceipt({ index, proof, checkpoint });
  };

  test("proves its entry, and no other", async () => {
    const receipt = await receiptOf(13);
    expect(receipt.split("\n").slice(0, 2)).toEqual(["c2sp.org/tlog-proof@v1", "index 13"]);
    expect(verifyReceipt(receipt, entries[13]!, vkey)).toMatchObject({ index: 13, size: 20 });
    expect(() => verifyReceipt(receipt, entries[12]!, vkey)).toThrow(code("PROOF"));
    expect(() => verifyReceipt(receipt.replace("index 13", "index 12"), entries[13]!, vkey)).toThrow(code("PROOF"));
    expect(() => verifyReceipt(receipt, entries[13]!, other.key)).toThrow(code("SIGNATURE"));
  });

  test("with something more or less in it is refused", async () => {
    const receipt = await receiptOf(13);
    for (const changed of [
      receipt.replace("@v1", "@v2"),
      receipt.replace("index 13\n", ""),
      receipt.replace("index 13\n", "extra AAAA\nindex 13\n"),
      receipt.replace("index 13\n", "index 13\nAAAA\n"),
      receipt.replace("\n\n", "\n"),
      "",
    ]) {
      expect(() => verifyReceipt(changed, entries[13]!, vkey)).toThrow(
        expect.objectContaining({ name: "TlogError" }) as Error,
      );
    }
  });
});
