import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";

/** RFC 8410: an Ed25519 public key as SubjectPublicKeyInfo, up to its 32 bytes. */
const ED25519_SPKI = Buffer.from("302a300506032b6570032100", "hex");

/** RFC 8410: an Ed25519 private key as PrivateKeyInfo, up to its 32 bytes. */
const ED25519_PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

/** The key of a seed of 32 bytes, which stays the caller's to zero. */
export function privateKeyOf(seed: Uint8Array): KeyObject {
  const pkcs8 = Buffer.concat([ED25519_PKCS8, seed]);
  try {
    return createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  } finally {
    pkcs8.fill(0);
  }
}

/** The 32 bytes of the public half of a key. */
export function rawPublicKey(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
}

/** Signs for one purpose only: a signature over something else is none over this. */
export function signAs(purpose: string, message: Uint8Array, key: KeyObject): Buffer {
  return sign(null, labelled(purpose, message), key);
}

/** `publicKey`: 32 bytes. */
export function isSignedAs(
  purpose: string,
  { message, signature, publicKey }: { message: Uint8Array; signature: Uint8Array; publicKey: Uint8Array },
): boolean {
  const key = createPublicKey({ key: Buffer.concat([ED25519_SPKI, publicKey]), format: "der", type: "spki" });
  return verify(null, labelled(purpose, message), key, signature);
}

function labelled(purpose: string, message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${purpose}\0`), message]);
}
