import { readFileSync } from "node:fs";

import fc from "fast-check";
import { privateKeyToAccount } from "viem/accounts";
import { recoverMessageAddress } from "viem";
import { describe, expect, test } from "vitest";

import { computeOmniAccount, type IdentityType, type OmniAccount } from "@agentkeys/lib/account";
import { addressOfSecretKey, eip191Digest } from "@agentkeys/lib/ethereum";

import { deriveSecretKey } from "./derivation.ts";
import { createSigningEngine } from "./signing.ts";

interface Vector {
  master_secret_hex: string;
  client_id: string;
  identity_type: IdentityType;
  identity_value: string;
  omni_account: string;
  address: string;
  message_hex: string;
  eip191_digest_hex: string;
  signature: `0x${string}`;
}

const file = new URL("testing/derivation-vectors.json", import.meta.url);
const vectors = JSON.parse(readFileSync(file, "utf8")) as Vector[];
const bytes = (hex: string): Buffer => Buffer.from(hex, "hex");
const account = "ab".repeat(32) as OmniAccount;

describe("vectors made by an independent program", () => {
  test("are there", () => expect(vectors.length).toBeGreaterThan(5));

  test.each(vectors.map((vector, i) => [`${i}: ${vector.identity_type} ${vector.identity_value}`, vector] as const))(
    "%s",
    async (_name, vector) => {
      const { client_id: clientId, identity_type: identityType, identity_value: identityValue } = vector;
      const omniAccount = computeOmniAccount({ clientId, identityType, identityValue });
      expect(omniAccount).toBe(vector.omni_account);
      const engine = createSigningEngine(bytes(vector.master_secret_hex));
      const message = bytes(vector.message_hex);
      expect(await engine.walletOf(omniAccount)).toEqual({ address: vector.address, keyVersion: 1 });
      expect(Buffer.from(eip191Digest(message)).toString("hex")).toBe(vector.eip191_digest_hex);
      expect((await engine.sign(omniAccount, message)).signature).toBe(vector.signature);
    },
  );
});

test("every signature is one that viem makes with the same key, and recovers to the same address", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ maxLength: 300 }),
      async (master, message) => {
        const key = deriveSecretKey(master, account);
        const viem = privateKeyToAccount(`0x${Buffer.from(key).toString("hex")}`);
        const { wallet, signature } = await createSigningEngine(Buffer.from(master)).sign(account, message);
        expect(wallet.address).toBe(viem.address.toLowerCase());
        expect(signature).toBe(await viem.signMessage({ message: { raw: message } }));
        const recovered = await recoverMessageAddress({
          message: { raw: message },
          signature: signature as `0x${string}`,
        });
        expect(recovered).toBe(viem.address);
      },
    ),
    { numRuns: 25 },
  );
});

describe("output of HKDF that is no secret key", () => {
  test("is passed over for the next 32 bytes of the same stream", () => {
    const master = new Uint8Array(32).fill(7);
    const refused: string[] = [];
    const third = deriveSecretKey(master, account, (candidate) => {
      if (refused.length === 2) return true;
      refused.push(Buffer.from(candidate).toString("hex"));
      return false;
    });
    // The first is what is used otherwise; all three differ.
    expect(refused[0]).toBe(Buffer.from(deriveSecretKey(master, account)).toString("hex"));
    expect(new Set([...refused, Buffer.from(third).toString("hex")]).size).toBe(3);
  });
});

describe("the engine", () => {
  test("zeroes the master secret when it is destroyed, and signs no more", async () => {
    const master = Buffer.alloc(32, 9);
    const engine = createSigningEngine(master);
    await engine.walletOf(account);
    engine.destroy();
    expect(master.equals(Buffer.alloc(32))).toBe(true);
    await expect(engine.sign(account, Buffer.from("x"))).rejects.toThrow("destroyed");
  });

  test("gives accounts that differ wallets that differ", async () => {
    const engine = createSigningEngine(Buffer.alloc(32, 9));
    const other = "cd".repeat(32) as OmniAccount;
    const [mine, theirs] = [await engine.walletOf(account), await engine.walletOf(other)];
    expect(mine.address).not.toBe(theirs.address);
    expect(addressOfSecretKey(deriveSecretKey(Buffer.alloc(32, 9), other))).toBe(theirs.address);
  });
});
