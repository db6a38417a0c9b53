import { secp256k1 } from "@noble/curves/secp256k1.js";
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";

import type { OmniAccount } from "@agentkeys/lib/account";

/** The version of this derivation; it stands in the HKDF info, so another version makes other wallets. */
export const KEY_VERSION = 1;

const INFO_PREFIX = utf8ToBytes(`agentkeys-evm-wallet-v${KEY_VERSION}:`);
const KEY_LENGTH = 32;
/** HKDF-SHA256 gives at most 255 blocks of 32 bytes (RFC 5869 section 2.3). */
const MAX_CANDIDATES = 255;

/**
 * The secp256k1 secret key of an account's wallet, 32 bytes: HKDF-SHA256 (RFC 5869) without salt over the master secret, info
 * `agentkeys-evm-wallet-v1:` and the account's 32 raw bytes. Output that is no secret key (0, or not below the curve's order:
 * about once in 2^128) is passed over for the next 32 bytes of the same stream.
 *
 * The caller owns the result and zeroes it. `isValid` is there for tests, which can't wait that long.
 */
export function deriveSecretKey(
  masterSecret: Uint8Array,
  omniAccount: OmniAccount,
  isValid: (candidate: Uint8Array) => boolean = secp256k1.utils.isValidSecretKey,
): Uint8Array {
  const pseudorandomKey = extract(sha256, masterSecret);
  const info = concatBytes(INFO_PREFIX, hexToBytes(omniAccount));
  try {
    for (let candidates = 1; candidates <= MAX_CANDIDATES; candidates++) {
      const stream = expand(sha256, pseudorandomKey, info, candidates * KEY_LENGTH);
      const candidate = stream.slice(-KEY_LENGTH);
      stream.fill(0);
      if (isValid(candidate)) return candidate;
      candidate.fill(0);
    }
  } finally {
    pseudorandomKey.fill(0);
  }
  throw new Error("no valid secret key in the whole HKDF stream");
}
