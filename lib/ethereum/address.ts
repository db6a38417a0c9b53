import { secp256k1 } from "@noble/curves/secp256k1.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";

import { ErrorReason, Failure } from "../failure.ts";

/** An EVM address in the one form that we store, compare and send: `0x` and 40 lower-case hex characters. */
export type EvmAddress = string & { readonly __brand: "EvmAddress" };

/**
 * Reads an address in any case. Mixed case must be a correct EIP-55 checksum: a wrong one is a typing error.
 * @throws Failure INVALID_ADDRESS
 */
export function parseEvmAddress(text: string): EvmAddress {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) {
    throw new Failure(ErrorReason.INVALID_ADDRESS, "address must be 0x and 40 hex characters");
  }
  const address = text.toLowerCase() as EvmAddress;
  const digits = text.slice(2);
  const mixed = digits !== digits.toLowerCase() && digits !== digits.toUpperCase();
  if (mixed && checksumAddress(address) !== text) {
    throw new Failure(
      ErrorReason.INVALID_ADDRESS,
      "address has a wrong EIP-55 checksum: a character or its case was mistyped (all lower case is accepted too)",
    );
  }
  return address;
}

/** The mixed-case form of EIP-55, for people and for EIP-4361 messages. */
export function checksumAddress(address: EvmAddress): string {
  const digits = address.slice(2);
  const hash = bytesToHex(keccak_256(utf8ToBytes(digits)));
  return "0x" + Array.from(digits, (c, i) => (parseInt(hash.charAt(i), 16) >= 8 ? c.toUpperCase() : c)).join("");
}

/** The address of a secp256k1 secret key of 32 bytes; throws on one that is 0 or not below the curve's order. */
export function addressOfSecretKey(secretKey: Uint8Array): EvmAddress {
  return addressOfPublicKey(secp256k1.getPublicKey(secretKey, false));
}

/** The address of an uncompressed public key (65 bytes, starting with 0x04). */
export function addressOfPublicKey(publicKey: Uint8Array): EvmAddress {
  return ("0x" + bytesToHex(keccak_256(publicKey.subarray(1)).subarray(12))) as EvmAddress;
}
