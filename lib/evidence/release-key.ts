import { createHash, createPublicKey, type KeyObject } from "node:crypto";

import { p256 } from "@noble/curves/nist.js";

/** SHA-256 of a key's SubjectPublicKeyInfo (DER), in lower-case hex: what a key is pinned by. */
export function keyFingerprint(key: KeyObject): string {
  return createHash("sha256")
    .update(key.export({ format: "der", type: "spki" }))
    .digest("hex");
}

/**
 * The key on P-256 with this fingerprint that a compact JWS (ES256) may be signed by: a signature leads to few keys (SEC 1, section 4.1.6),
 * and only one of them has the fingerprint. `undefined` where none has. Whether the signature is good says nobody here.
 */
export function es256KeyOf(jws: string, fingerprint: string): KeyObject | undefined {
  const [header = "", payload = "", signature = ""] = jws.split(".");
  const digest = createHash("sha256").update(`${header}.${payload}`).digest();
  const compact = Buffer.from(signature, "base64url");
  if (compact.length !== 64) return undefined;
  for (const recovery of [0, 1, 2, 3]) {
    const key = recovered(compact, recovery, digest);
    if (key !== undefined && keyFingerprint(key) === fingerprint) return key;
  }
  return undefined;
}

/** `undefined` where the numbers lead to no point. */
function recovered(signature: Uint8Array, recovery: number, digest: Uint8Array): KeyObject | undefined {
  try {
    const point = p256.Signature.fromBytes(signature, "compact").addRecoveryBit(recovery).recoverPublicKey(digest);
    const bytes = Buffer.from(point.toBytes(false));
    const [x, y] = [bytes.subarray(1, 33), bytes.subarray(33)].map((half) => half.toString("base64url"));
    return createPublicKey({ key: { kty: "EC", crv: "P-256", x: x ?? "", y: y ?? "" }, format: "jwk" });
  } catch {
    return undefined;
  }
}
