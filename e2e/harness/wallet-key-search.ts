import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { addressOfSecretKey, type EvmAddress } from "@agentkeys/lib/ethereum";

/**
 * Looks for the secret key of `wallet` in every file below `folder`, as raw bytes or written in hex, base64 or base64url, and
 * names the files that have it. Nobody need know the key: whatever looks like one is tried against the address.
 */
export function filesWithWalletKey(folder: string, wallet: EvmAddress): { searched: number; found: string[] } {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return { searched: files.length, found: files.filter((file) => holdsWalletKey(readFileSync(file), wallet)) };
}

/** As `filesWithWalletKey`, for one piece of data. */
export function holdsWalletKey(data: Buffer, wallet: EvmAddress): boolean {
  return [...candidates(data)].some((candidate) => isKeyOf(candidate, wallet));
}

/** Every window is looked at, not only whole words: a key may stand amidst other characters of its alphabet. */
function* candidates(data: Buffer): Generator<Uint8Array> {
  const text = data.toString("latin1");
  for (const [run] of text.matchAll(/[0-9a-fA-F]{64,}/g)) {
    for (let i = 0; i + 64 <= run.length; i++) yield Buffer.from(run.slice(i, i + 64), "hex");
  }
  for (const [run] of text.matchAll(/[A-Za-z0-9+/_-]{43,}/g)) {
    for (let i = 0; i + 43 <= run.length; i++) yield Buffer.from(run.slice(i, i + 43), "base64");
  }
  for (let i = 0; i + 32 <= data.length; i++) {
    // Text has no bytes below 9 or above 126, and was looked at above; a window with none of these is text.
    const window = data.subarray(i, i + 32);
    if (window.some((byte) => byte < 9 || byte > 126)) yield window;
  }
}

function isKeyOf(candidate: Uint8Array, wallet: EvmAddress): boolean {
  try {
    return addressOfSecretKey(candidate) === wallet;
  } catch {
    return false;
  }
}
