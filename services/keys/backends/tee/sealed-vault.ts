import { hkdfSync } from "node:crypto";

import type { RandomBytes } from "@agentkeys/lib/random";

import { memoryRootKey } from "./root-key.ts";
import type { FormerVault, RootKeyVault, SealedRootKey, Sealer } from "./sealer.ts";

/** Where 32 more bytes of randomness come from: the TPM's own generator, or whatever the platform has. */
export type HardwareRandom = (length: number) => Promise<Uint8Array>;

const MASTER_BYTES = 32;
const MASTER_INFO = "agentkeys-master-v1";
/** Bound to the blob: it opens as a root key and as nothing else. */
const PURPOSE = Buffer.from("agentkeys/root-key/v1");

/**
 * 32 bytes, made of the hardware's randomness and the kernel's together, so that one of them being bad, or one that somebody chose, does
 * not make them known. The caller zeroes them.
 */
export async function makeMasterSecret(sources: {
  hardwareRandom: HardwareRandom;
  random: RandomBytes;
}): Promise<Buffer> {
  const entropy = Buffer.alloc(2 * MASTER_BYTES);
  try {
    const parts = [await sources.hardwareRandom(MASTER_BYTES), sources.random(MASTER_BYTES)];
    parts.forEach((bytes, i) => {
      entropy.set(bytes, i * MASTER_BYTES);
      bytes.fill(0);
    });
    const made = new Uint8Array(hkdfSync("sha256", entropy, new Uint8Array(), MASTER_INFO, MASTER_BYTES));
    const master = Buffer.alloc(MASTER_BYTES);
    master.set(made);
    made.fill(0);
    return master;
  } finally {
    entropy.fill(0);
  }
}

/** A master secret that a sealer keeps and that is in memory while the worker runs. */
export function sealedVault(parts: {
  sealer: Sealer;
  hardwareRandom: HardwareRandom;
  random: RandomBytes;
}): RootKeyVault {
  const { sealer } = parts;
  const bringIn = async (masterSecret: Uint8Array): Promise<SealedRootKey> => {
    const master = Buffer.alloc(MASTER_BYTES);
    try {
      const blob = await sealer.seal(masterSecret, PURPOSE);
      master.set(masterSecret);
      return { blob, key: memoryRootKey(master) };
    } finally {
      master.fill(0);
    }
  };
  const reveal = (blob: Uint8Array): Promise<Buffer> => sealer.unseal(blob, PURPOSE);
  return {
    type: sealer.type,
    create: async () => {
      const master = await makeMasterSecret(parts);
      try {
        return await bringIn(master);
      } finally {
        master.fill(0);
      }
    },
    ...(sealer.isSealedFor && { isSealedFor: sealer.isSealedFor.bind(sealer) }),
    ...(sealer.retireOlder && { retireOlder: sealer.retireOlder.bind(sealer) }),
    bringIn,
    open: async (blob) => {
      const master = await reveal(blob);
      try {
        return memoryRootKey(master);
      } finally {
        master.fill(0);
      }
    },
    reveal,
  };
}

/** The vault of a sealer, and what its root key may have been sealed by before. */
export function movingVault(parts: { from: Sealer; to: Sealer; hardwareRandom: HardwareRandom; random: RandomBytes }): {
  vault: RootKeyVault;
  former: FormerVault;
} {
  const { from, to, ...sources } = parts;
  return {
    vault: sealedVault({ sealer: to, ...sources }),
    former: {
      vault: sealedVault({ sealer: from, ...sources }),
      reseal: (blob) => resealed(from, to, blob),
    },
  };
}

/** Seals the master secret of one sealer's blob by another sealer: it is in memory for the time between. @throws UnsealRefused */
async function resealed(from: Sealer, to: Sealer, blob: Uint8Array): Promise<Uint8Array> {
  const master = await from.unseal(blob, PURPOSE);
  try {
    return await to.seal(master, PURPOSE, blob);
  } finally {
    master.fill(0);
  }
}
