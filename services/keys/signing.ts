import type { OmniAccount } from "@agentkeys/lib/account";
import { addressOfSecretKey, signEip191 } from "@agentkeys/lib/ethereum";

import { deriveSecretKey, KEY_VERSION } from "./derivation.ts";
import type { SigningEngine } from "./signing-engine.ts";

/** An engine over 32 bytes of master secret in memory. It takes the buffer over: `destroy` zeroes it. */
export function createSigningEngine(masterSecret: Buffer): SigningEngine {
  return createDerivingEngine({
    derive: (omniAccount) => Promise.resolve(deriveSecretKey(masterSecret, omniAccount)),
    destroy: () => masterSecret.fill(0),
  });
}

/** What an engine derives with: the master secret, wherever it is. */
export interface KeySource {
  /** The secret key of an account's wallet, 32 bytes. The engine zeroes them. */
  derive: (omniAccount: OmniAccount) => Promise<Uint8Array>;
  destroy: () => void;
}

/** An engine over anything that derives. A derived key is used synchronously, as soon as it is there, and then zeroed. */
export function createDerivingEngine(source: KeySource): SigningEngine {
  let destroyed = false;

  async function withKey<T>(omniAccount: OmniAccount, use: (key: Uint8Array) => T): Promise<T> {
    if (destroyed) throw new Error("the signing engine was destroyed");
    const key = await source.derive(omniAccount);
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
      source.destroy();
    },
  };
}
