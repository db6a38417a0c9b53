import { CompactEncrypt, compactDecrypt, type JWK } from "jose";

import type { Secret } from "@agentkeys/lib/secret";
import { SettingsError } from "@agentkeys/lib/settings";

/** Turns a private key into what the store keeps, and back. */
export interface KeySealer {
  seal(key: JWK): Promise<string>;
  /** @throws SettingsError naming the setting when the key cannot be opened with it. */
  open(stored: string): Promise<JWK>;
  /** Whether `stored` is as `seal` would make it now; false for a key kept in the clear before encryption was switched on. */
  isCurrent(stored: string): boolean;
}

const SETTING = "AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY";

/** Seals with AES-256-GCM (JWE, `dir`, RFC 7516) under `encryptionKey` (32 bytes), or not at all without one. */
export function createKeySealer(encryptionKey: Secret<Uint8Array> | undefined): KeySealer {
  const encrypted = (stored: string): boolean => !stored.startsWith("{");
  return {
    seal: async (key) => {
      const text = JSON.stringify(key);
      if (encryptionKey === undefined) return text;
      return new CompactEncrypt(new TextEncoder().encode(text))
        .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
        .encrypt(encryptionKey.reveal());
    },
    open: async (stored) => {
      if (!encrypted(stored)) return JSON.parse(stored) as JWK;
      if (encryptionKey === undefined) {
        throw new SettingsError([`${SETTING} must be set: the signing keys in the store are encrypted with it`]);
      }
      try {
        const { plaintext } = await compactDecrypt(stored, encryptionKey.reveal(), {
          keyManagementAlgorithms: ["dir"],
          contentEncryptionAlgorithms: ["A256GCM"],
        });
        return JSON.parse(new TextDecoder().decode(plaintext)) as JWK;
      } catch {
        throw new SettingsError([`${SETTING} is not the key that the store's signing keys are encrypted with`]);
      }
    },
    isCurrent: (stored) => encrypted(stored) === (encryptionKey !== undefined),
  };
}
