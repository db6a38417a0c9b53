import { addressOfSecretKey, signEip191 } from "@agentkeys/lib/ethereum";

import { deriveSecretKey, KEY_VERSION } from "./derivation.ts";
import type { SigningEngine } from "./signing-engine.ts";

/**
 * An engine over 32 bytes of master secret in memory. It takes the buffer over: `destroy` zeroes it. A derived key lives for
 * the length of one call and is zeroed after it.
 */
export function createSigningEngine(masterSecret: Buffer): SigningEngine {
  let destroyed = false;

  function withKey<T>(omniAccount: Parameters<SigningEngine["walletOf"]>[0], use: (key: Uint8Array) => T): T {
    if (destroyed) throw new Error("the signing engine was destroyed");
    const key = deriveSecretKey(masterSecret, omniAccount);
    try {
      return use(key);
    } finally {
      key.fill(0);
    }
  }

  return {
    walletOf: (omniAccount) =>
      withKey(omniAccount, (key) => ({ address: addressOfSecretKey(key), keyVersion: KEY_VERSION })),
    sign: (omniAccount, message) =>
      withKey(omniAccount, (key) => ({
        wallet: { address: addressOfSecretKey(key), keyVersion: KEY_VERSION },
        signature: signEip191(key, message),
      })),
    destroy: () => {
      destroyed = true;
      masterSecret.fill(0);
    },
  };
}
