/** Public areas of the keys and data that we have a TPM make. None of them is under dictionary attack protection: see client.ts. */
import type { KeyObject } from "node:crypto";

import { objectAttribute as attribute } from "./constants.ts";
import { digest } from "./hash.ts";
import { TpmFormatError } from "./marshal.ts";
import type { EccPublic, KeyedHashPublic, RsaPublic, TpmPublic } from "./public-area.ts";

const NOTHING = new Uint8Array();
const ours = attribute.fixedTpm | attribute.fixedParent | attribute.noDictionaryAttackProtection;

/** The storage root key, ECC P-256 (TCG TPM v2.0 Provisioning Guidance, section 7.5.1): the same at every boot. */
export const storageRootKey: EccPublic = {
  type: "ecc",
  nameHash: "sha256",
  attributes: ours | attribute.sensitiveDataOrigin | attribute.userWithAuth | attribute.restricted | attribute.decrypt,
  authPolicy: NOTHING,
  aesBits: 128,
  curve: "P-256",
  x: NOTHING,
  y: NOTHING,
};

/** The usual endorsement key, RSA-2048 (TCG EK Credential Profile, template L-1): only who has the endorsement's password may use it. */
export const endorsementKey: RsaPublic = {
  type: "rsa",
  nameHash: "sha256",
  attributes:
    attribute.fixedTpm |
    attribute.fixedParent |
    attribute.sensitiveDataOrigin |
    attribute.adminWithPolicy |
    attribute.restricted |
    attribute.decrypt,
  // PolicySecret(TPM_RH_ENDORSEMENT)
  authPolicy: Buffer.from("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa", "hex"),
  aesBits: 128,
  bits: 2048,
  exponent: 0,
  modulus: Buffer.alloc(256),
};

/**
 * An attestation key, ECC P-256: `restricted`, so that it signs nothing that pretends to come from the TPM. The label makes it
 * another key than everybody else's; the same label gives the same key at every boot, and nothing has to be stored.
 */
export function attestationKey(label: string): EccPublic {
  return {
    type: "ecc",
    nameHash: "sha256",
    attributes: ours | attribute.sensitiveDataOrigin | attribute.userWithAuth | attribute.restricted | attribute.sign,
    authPolicy: NOTHING,
    scheme: { name: "ecdsa", hash: "sha256" },
    curve: "P-256",
    x: digest("sha256", Buffer.from(label)),
    y: NOTHING,
  };
}

/** Data that only its policy opens. */
export function sealedData(policy: Uint8Array): KeyedHashPublic {
  return {
    type: "keyed-hash",
    nameHash: "sha256",
    attributes: ours | attribute.adminWithPolicy,
    authPolicy: policy,
    unique: NOTHING,
  };
}

/** An HMAC-SHA256 key that only its policy lets anyone use; made in the TPM, or brought in. */
export function hmacKey(policy: Uint8Array, origin: "made-inside" | "brought-in"): KeyedHashPublic {
  return {
    ...sealedData(policy),
    attributes:
      ours |
      attribute.adminWithPolicy |
      attribute.sign |
      (origin === "made-inside" ? attribute.sensitiveDataOrigin : 0),
    scheme: { name: "hmac", hash: "sha256" },
  };
}

/**
 * A verification key from outside, as TPM2_LoadExternal takes it: ECDSA P-256 or RSA. The same key always has the same name.
 * @throws TpmFormatError for others; TPMs know no Ed25519.
 */
export function verificationKey(key: KeyObject): TpmPublic {
  const common = {
    nameHash: "sha256" as const,
    attributes: attribute.userWithAuth | attribute.sign,
    authPolicy: NOTHING,
  };
  const { kty, crv, x, y, n, e } = key.export({ format: "jwk" }) as Record<string, string | undefined>;
  if (kty === "EC" && crv === "P-256" && x !== undefined && y !== undefined) {
    return { type: "ecc", ...common, curve: crv, x: fromUrl(x), y: fromUrl(y) } satisfies EccPublic;
  }
  if (kty === "RSA" && n !== undefined && e === "AQAB") {
    const modulus = fromUrl(n);
    return { type: "rsa", ...common, bits: modulus.length * 8, exponent: 0, modulus } satisfies RsaPublic;
  }
  throw new TpmFormatError(
    "a TPM verifies signatures by ECDSA P-256 keys and by RSA keys with exponent 65537, no others",
  );
}

function fromUrl(text: string): Buffer {
  return Buffer.from(text, "base64url");
}
