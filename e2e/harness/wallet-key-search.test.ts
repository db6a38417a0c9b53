import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { addressOfSecretKey } from "@agentkeys/lib/ethereum";

import { filesWithWalletKey, holdsWalletKey } from "./wallet-key-search.ts";

const key = Buffer.from(Array.from({ length: 32 }, (_, i) => (i * 37 + 11) % 256));
const wallet = addressOfSecretKey(key);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-search-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("the search for a wallet's key", () => {
  test.each<[string, string | Buffer]>([
    ["raw bytes", key],
    ["raw bytes amidst others", Buffer.concat([Buffer.from("text"), key, Buffer.from([0, 1, 2])])],
    ["hex", key.toString("hex")],
    ["hex in capitals after 0x", `{"k":"0x${key.toString("hex").toUpperCase()}"}`],
    ["hex amidst other digits", `0${key.toString("hex")}f`],
    ["base64", key.toString("base64")],
    ["base64url in a JWK", JSON.stringify({ kty: "EC", crv: "secp256k1", d: key.toString("base64url") })],
  ])("finds it as %s", (_, data) => {
    expect(holdsWalletKey(Buffer.from(data), wallet)).toBe(true);
  });

  test("takes another key, the address and plain text for what they are", () => {
    const other = Buffer.from(key).reverse();
    for (const data of [other, wallet, "a".repeat(100), JSON.stringify({ d: other.toString("base64url") })]) {
      expect(holdsWalletKey(Buffer.from(data), wallet)).toBe(false);
    }
  });

  test("looks into every folder and says how many files it read", () => {
    mkdirSync(join(folder, "deep"));
    writeFileSync(join(folder, "deep", "key.pem"), key.toString("hex"));
    writeFileSync(join(folder, "other"), "nothing");
    expect(filesWithWalletKey(folder, wallet)).toEqual({ searched: 2, found: [join(folder, "deep", "key.pem")] });
  });
});
