import fc from "fast-check";
import { getAddress } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { describe, expect, test } from "vitest";

import { ErrorReason } from "../failure.ts";
import { checksumAddress, parseEvmAddress, recoverEip191 } from "./index.ts";

const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const addresses = fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => `0x${hex(bytes)}`);

describe("an address", () => {
  test("has the checksum that viem gives it, and is read back in every case", () => {
    fc.assert(
      fc.property(addresses, (text) => {
        const address = parseEvmAddress(text);
        const checksum = checksumAddress(address);
        expect(checksum).toBe(getAddress(text));
        expect(parseEvmAddress(checksum)).toBe(address);
        expect(parseEvmAddress("0x" + text.slice(2).toUpperCase())).toBe(address);
      }),
    );
  });

  test("with a wrong checksum is a typing error", () => {
    const good = getAddress("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed");
    const wrong = good.replace("5aA", "5Aa");
    expect(wrong).not.toBe(good);
    expect(() => parseEvmAddress(wrong)).toThrow(expect.objectContaining({ reason: ErrorReason.INVALID_ADDRESS }));
  });

  test.each([
    "",
    "0x",
    "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
    "0x" + "g".repeat(40),
    "0x" + "a".repeat(41),
    "0X" + "a".repeat(40),
  ])("%j is refused", (text) => {
    expect(() => parseEvmAddress(text)).toThrow(expect.objectContaining({ reason: ErrorReason.INVALID_ADDRESS }));
  });
});

describe("a signature", () => {
  const account = privateKeyToAccount(generatePrivateKey());
  const message = Buffer.from("hello");
  const invalid = expect.objectContaining({ reason: ErrorReason.SIGNATURE_INVALID }) as unknown;

  test("has one form only: the same with a high s, or another v, is refused", async () => {
    const good = await account.signMessage({ message: "hello" });
    expect(recoverEip191(message, good)).toBe(account.address.toLowerCase());
    const [r, s, v] = [good.slice(2, 66), good.slice(66, 130), good.slice(130)];
    const high = (N - BigInt("0x" + s)).toString(16).padStart(64, "0");
    const flipped = v === "1b" ? "1c" : "1b";
    const others = [
      `0x${r}${high}${flipped}`,
      `0x${r}${s}0${v === "1b" ? "0" : "1"}`,
      `0x${r}${s}25`,
      good + "00",
      good.slice(2),
    ];
    for (const signature of others) expect(() => recoverEip191(message, signature)).toThrow(invalid);
  });

  test("of whatever bytes is an address or SIGNATURE_INVALID, never the signer's by chance", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 65, maxLength: 65 }), (bytes) => {
        bytes[64] = 27 + ((bytes[64] ?? 0) % 2);
        try {
          expect(recoverEip191(message, `0x${hex(bytes)}`)).not.toBe(account.address.toLowerCase());
        } catch (error) {
          expect(error).toEqual(invalid);
        }
      }),
    );
  });
});
