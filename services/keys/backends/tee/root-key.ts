import { createHmac, type KeyObject } from "node:crypto";

import { privateKeyOf } from "@agentkeys/lib/evidence/ed25519";

import type { RootKey } from "./sealer.ts";

/**
 * What is made of the root key besides wallets, by its HKDF info. Wallets have `agentkeys-evm-wallet-v1:` and an account. None of
 * these strings may ever be used for a second purpose; another version makes another key.
 */
export const keyUse = {
  /** Signs the checkpoints of the sign log. */
  log: "agentkeys-log-key-v1",
  /** Stands in the claims: the daemon knows this very worker by it, on whatever machine it runs. */
  identity: "agentkeys-identity-key-v1",
  /** Authenticates the state file. */
  state: "agentkeys-tee-state-v1",
  /** Authenticates the record of this worker's own backup. */
  backup: "agentkeys-backup-record-v1",
  /** With a colon and a backup's id: seals a share that is kept for another worker. */
  share: "agentkeys-kept-share-v1",
} as const;

export type KeyUse = keyof typeof keyUse;

const MASTER_BYTES = 32;
/** RFC 5869 section 2.2: without a salt, as many zero bytes as the hash has. */
const NO_SALT = Buffer.alloc(32);

/**
 * A root key in this process's memory: HKDF-Extract of a master secret of 32 bytes, which it takes over and zeroes at once, since
 * everything is made of the pseudorandom key.
 */
export function memoryRootKey(masterSecret: Buffer): RootKey {
  if (masterSecret.length !== MASTER_BYTES) throw new RangeError(`a master secret has ${MASTER_BYTES} bytes`);
  const pseudorandomKey = extractKey(masterSecret);
  masterSecret.fill(0);
  let destroyed = false;
  return rootKeyOver(
    (data) => {
      if (destroyed) return Promise.reject(new Error("the root key was destroyed"));
      return Promise.resolve(createHmac("sha256", pseudorandomKey).update(data).digest());
    },
    () => {
      destroyed = true;
      pseudorandomKey.fill(0);
    },
  );
}

/** HKDF-Extract without salt, into a buffer of its own. The caller zeroes it. */
export function extractKey(masterSecret: Uint8Array): Buffer {
  const pseudorandomKey = Buffer.alloc(32);
  const made = createHmac("sha256", NO_SALT).update(masterSecret).digest();
  made.copy(pseudorandomKey);
  made.fill(0);
  return pseudorandomKey;
}

/** A root key over HMAC-SHA256 under its pseudorandom key. */
export function rootKeyOver(mac: RootKey["mac"], destroy: () => void): RootKey {
  return {
    mac,
    // The first block of HKDF-Expand (RFC 5869 section 2.3).
    derive: (info) => mac(Buffer.concat([info, Uint8Array.of(1)])),
    destroy,
  };
}

/** The 32 bytes for one of our own uses. The caller zeroes them. */
export function deriveFor(root: RootKey, use: KeyUse): Promise<Buffer> {
  return root.derive(Buffer.from(keyUse[use]));
}

/** The Ed25519 private key for a use: the same at every boot of the same worker, and in no file. */
export async function ed25519KeyFor(root: RootKey, use: "log" | "identity"): Promise<KeyObject> {
  const seed = await deriveFor(root, use);
  try {
    return privateKeyOf(seed);
  } finally {
    seed.fill(0);
  }
}
