import { secp256k1 } from "@noble/curves/secp256k1.js";
import { extract } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";

import type { OmniAccount } from "@agentkeys/lib/account";

/** The version of this derivation; it stands in the HKDF info, so another version makes other wallets. */
export const KEY_VERSION = 1;

const INFO_PREFIX = utf8ToBytes(`agentkeys-evm-wallet-v${KEY_VERSION}:`);
const NOTHING = new Uint8Array();
/** HKDF-SHA256 gives at most 255 blocks of 32 bytes (RFC 5869 section 2.3). */
const MAX_CANDIDATES = 255;

/** HMAC-SHA256 under the pseudorandom key of HKDF, wherever that key is: see `RootKey`. */
export type PseudorandomFunction = (data: Uint8Array) => Promise<Uint8Array>;

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
  try {
    const search = searchSecretKey(omniAccount, isValid);
    let step = search.next(NOTHING);
    while (step.done !== true) step = search.next(hmac(sha256, pseudorandomKey, step.value));
    return step.value;
  } finally {
    pseudorandomKey.fill(0);
  }
}

/** The same key by a pseudorandom key that is elsewhere, for example inside a TPM. The caller owns the result and zeroes it. */
export async function deriveSecretKeyWith(
  mac: PseudorandomFunction,
  omniAccount: OmniAccount,
  isValid: (candidate: Uint8Array) => boolean = secp256k1.utils.isValidSecretKey,
): Promise<Uint8Array> {
  const search = searchSecretKey(omniAccount, isValid);
  let step = search.next(NOTHING);
  while (step.done !== true) step = search.next(await mac(step.value));
  return step.value;
}

/** HKDF-Expand a block at a time (RFC 5869 section 2.3): yields what has to go through HMAC, returns the first block that is a key. */
function* searchSecretKey(
  omniAccount: OmniAccount,
  isValid: (candidate: Uint8Array) => boolean,
): Generator<Uint8Array, Uint8Array, Uint8Array> {
  const info = concatBytes(INFO_PREFIX, hexToBytes(omniAccount));
  let previous: Uint8Array = NOTHING;
  for (let counter = 1; counter <= MAX_CANDIDATES; counter++) {
    const input = concatBytes(previous, info, Uint8Array.of(counter));
    const candidate = yield input;
    input.fill(0);
    previous.fill(0);
    if (isValid(candidate)) return candidate;
    previous = candidate;
  }
  previous.fill(0);
  throw new Error("no valid secret key in the whole HKDF stream");
}
