/**
 * DEV ONLY, to be replaced by the TEE. The master secret comes from an environment variable: whoever can read that, or this
 * process's memory, has every wallet. Nothing here may ever hold the keys of a wallet that is worth anything.
 */
import { SettingError } from "@agentkeys/lib/settings";

import { createSigningEngine } from "../signing.ts";
import type { SigningEngine } from "../signing-engine.ts";

/** DEV ONLY, to be replaced by the TEE. The variable that holds the master secret: 32 bytes as 64 hex characters. */
export const DEV_MASTER_SECRET = "DEV_KEY_SERVICE_MASTER_SECRET";

/** DEV ONLY, to be replaced by the TEE. What every start says. */
export const DEV_WARNING =
  "DEV ONLY: the development key service holds its master secret in memory and in the environment; replace it by the TEE " +
  "worker before any wallet is worth something";

/**
 * DEV ONLY, to be replaced by the TEE. Reads the master secret into a buffer of its own.
 * @throws SettingError without repeating any of the value.
 */
export function parseDevMasterSecret(text: string): Buffer {
  if (!/^[0-9a-fA-F]{64}$/.test(text)) {
    throw new SettingError("must be 32 bytes as 64 hex characters, for example from: openssl rand -hex 32");
  }
  // Not from the shared pool, where a copy of it would stay behind after zeroing.
  const secret = Buffer.alloc(32);
  secret.write(text, "hex");
  return secret;
}

/** DEV ONLY, to be replaced by the TEE. The engine over the master secret; it owns and zeroes the buffer. */
export function createDevBackend(masterSecret: Buffer): SigningEngine {
  return createSigningEngine(masterSecret);
}
