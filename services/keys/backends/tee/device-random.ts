import { open } from "node:fs/promises";

import type { HardwareRandom } from "./sealed-vault.ts";

/** The kernel's way to the hardware's generator: in a Nitro enclave that of the Nitro Secure Module. */
const HARDWARE_GENERATOR = "/dev/hwrng";

/** Randomness of the hardware's own where there is no TPM. @throws Error where there is none, or it gives too little */
export function deviceRandom(path: string = HARDWARE_GENERATOR): HardwareRandom {
  return async (length) => {
    const device = await open(path, "r").catch((error: unknown) => {
      throw new Error(`a master secret needs the hardware's randomness, and ${path} cannot be opened`, {
        cause: error,
      });
    });
    try {
      const bytes = Buffer.alloc(length);
      // A device gives what it has, often less than was asked for.
      for (let filled = 0; filled < length;) {
        const { bytesRead } = await device.read(bytes, filled, length - filled, null);
        if (bytesRead === 0) throw new Error(`${path} gives no randomness`);
        filled += bytesRead;
      }
      return bytes;
    } finally {
      await device.close();
    }
  };
}
