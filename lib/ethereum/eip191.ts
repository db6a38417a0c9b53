import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from "@noble/hashes/utils.js";

import { ErrorReason, Failure } from "../failure.ts";
import { addressOfPublicKey, type EvmAddress } from "./address.ts";

/** The 32 bytes that a personal message is signed as (EIP-191, version 0x45). */
export function eip191Digest(message: Uint8Array): Uint8Array {
  return keccak_256(concatBytes(utf8ToBytes(`\x19Ethereum Signed Message:\n${message.length}`), message));
}

/** Signs a personal message: `0x` and hex of r, s, v. RFC 6979 nonce, low s, v is 27 or 28. */
export function signEip191(secretKey: Uint8Array, message: Uint8Array): string {
  // noble's "recovered" form is one byte of recovery id, then r and s; the digest is hashed already.
  const signature = secp256k1.sign(eip191Digest(message), secretKey, { prehash: false, format: "recovered" });
  const recovery = signature[0] ?? 0;
  return "0x" + bytesToHex(signature.subarray(1)) + (27 + recovery).toString(16);
}

/**
 * The address whose key made this signature over this personal message. Only the canonical form is accepted: 65 bytes, low s
 * (EIP-2), v of 27 or 28, so that one message and key have one signature. @throws Failure SIGNATURE_INVALID
 */
export function recoverEip191(message: Uint8Array, signature: string): EvmAddress {
  if (!/^0x[0-9a-fA-F]{130}$/.test(signature)) throw invalid("must be 0x and 130 hex characters");
  const bytes = hexToBytes(signature.slice(2));
  const v = bytes[64];
  if (v !== 27 && v !== 28) throw invalid("must end in 1b or 1c (v of 27 or 28)");
  let publicKey: Uint8Array;
  try {
    const parsed = secp256k1.Signature.fromBytes(
      concatBytes(Uint8Array.of(v - 27), bytes.subarray(0, 64)),
      "recovered",
    );
    if (parsed.hasHighS()) throw invalid("has a high s; use the other, canonical form");
    publicKey = parsed.recoverPublicKey(eip191Digest(message)).toBytes(false);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw invalid("is not a point on the curve");
  }
  return addressOfPublicKey(publicKey);
}

function invalid(what: string): Failure {
  return new Failure(ErrorReason.SIGNATURE_INVALID, `signature ${what}`);
}
