import { createPublicKey, hkdfSync } from "node:crypto";

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { OmniAccount } from "@agentkeys/lib/account";
import { addressOfSecretKey } from "@agentkeys/lib/ethereum";

import { deriveSecretKey, deriveSecretKeyWith } from "../../derivation.ts";
import derivationVectors from "../../testing/derivation-vectors.json" with { type: "json" };
import { deriveFor, ed25519KeyFor, keyUse, memoryRootKey } from "./root-key.ts";

const account = "ab".repeat(32) as OmniAccount;
const secret = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe("a root key in memory", () => {
  test("has the wallets of the vectors that an independent program made", async () => {
    for (const vector of derivationVectors) {
      const { mac } = memoryRootKey(Buffer.from(vector.master_secret_hex, "hex"));
      const key = await deriveSecretKeyWith(mac, vector.omni_account as OmniAccount);
      expect(addressOfSecretKey(key)).toBe(vector.address);
    }
  });

  test("derives as the development backend does, also where output of HKDF is no secret key", async () => {
    await fc.assert(
      fc.asyncProperty(secret, fc.nat(4), async (master, refusals) => {
        const refusing = (): (() => boolean) => {
          let left = refusals;
          return () => left-- <= 0;
        };
        const { mac } = memoryRootKey(Buffer.from(master));
        const key = await deriveSecretKeyWith(mac, account, refusing());
        expect(Buffer.from(key)).toEqual(Buffer.from(deriveSecretKey(master, account, refusing())));
      }),
      { numRuns: 50 },
    );
  });

  test("derives what node:crypto's HKDF does", async () => {
    await fc.assert(
      fc.asyncProperty(secret, fc.uint8Array({ maxLength: 100 }), async (master, info) => {
        const derived = await memoryRootKey(Buffer.from(master)).derive(info);
        expect(derived).toEqual(Buffer.from(hkdfSync("sha256", master, new Uint8Array(), info, 32)));
      }),
      { numRuns: 50 },
    );
  });

  test("takes the master secret over and zeroes it, and is of no use once destroyed", async () => {
    const master = Buffer.alloc(32, 9);
    const key = memoryRootKey(master);
    expect(master).toEqual(Buffer.alloc(32));
    key.destroy();
    await expect(key.derive(Buffer.alloc(1))).rejects.toThrow("destroyed");
    expect(() => memoryRootKey(Buffer.alloc(31))).toThrow("32 bytes");
  });

  test("has another key for each use, none of them a wallet's", async () => {
    const root = memoryRootKey(Buffer.alloc(32, 9));
    const keys = await Promise.all([deriveFor(root, "log"), deriveFor(root, "identity"), deriveFor(root, "state")]);
    expect(new Set(keys.map((key) => key.toString("hex"))).size).toBe(keys.length);
    expect(Object.values(keyUse).some((info) => info.startsWith("agentkeys-evm-wallet"))).toBe(false);
    const [log, identity] = [await ed25519KeyFor(root, "log"), await ed25519KeyFor(root, "identity")];
    expect(createPublicKey(log).equals(createPublicKey(identity))).toBe(false);
    expect(log.export({ format: "der", type: "pkcs8" }).subarray(-32)).toEqual(await deriveFor(root, "log"));
  });
});
