import type { KeyObject } from "node:crypto";

import { objectAttribute as attribute } from "../tpm2/constants.ts";
import { hasAttributes, publicKeyOf, type TpmPublic } from "../tpm2/public-area.ts";
import type { TpmSignature } from "../tpm2/signature.ts";
import { AttestationError } from "./evidence.ts";

/** A key that its TPM made, that never leaves it, and that signs only what the TPM itself says. @throws AttestationError IDENTITY, UNSUPPORTED */
export function checkAttestationKey(area: TpmPublic): void {
  const needed = attribute.fixedTpm | attribute.sensitiveDataOrigin | attribute.restricted | attribute.sign;
  if (!hasAttributes(area, needed) || (area.attributes & attribute.decrypt) !== 0) {
    throw new AttestationError("IDENTITY", "tpm2: the attestation key is not a restricted signing key of its TPM");
  }
  if (area.nameHash === "sha1" || area.scheme?.hash === "sha1") {
    throw new AttestationError("UNSUPPORTED", "tpm2: the attestation key is for SHA-1");
  }
  if (area.type === "keyed-hash" || area.scheme === undefined) {
    throw new AttestationError("UNSUPPORTED", "tpm2: the attestation key is not for one signature scheme");
  }
}

/** A key signs by its own scheme: whatever else comes is no work of its TPM's. @throws AttestationError SIGNATURE */
export function checkScheme({ scheme }: TpmPublic, signature: TpmSignature): void {
  if (scheme?.name === signature.scheme && scheme.hash === signature.hash) return;
  throw new AttestationError("SIGNATURE", "tpm2: the quote is not signed by the attestation key's own scheme");
}

/**
 * A key that only decrypts for its TPM. Whoever sends it chooses all of it but what a pin or certificate names later, so that what
 * a credential is encrypted with has to hold by itself. @throws AttestationError IDENTITY, UNSUPPORTED, and what `publicKeyOf` throws
 */
export function checkEndorsementKey(area: TpmPublic): KeyObject {
  const needed = attribute.fixedTpm | attribute.restricted | attribute.decrypt;
  if (!hasAttributes(area, needed) || (area.attributes & attribute.sign) !== 0) {
    throw new AttestationError("IDENTITY", "tpm2: the endorsement key is not one that only decrypts for its TPM");
  }
  if (area.nameHash === "sha1")
    throw new AttestationError("UNSUPPORTED", "tpm2: the endorsement key's name is by SHA-1");
  if (area.type === "keyed-hash" || (area.aesBits !== 128 && area.aesBits !== 256)) {
    throw new AttestationError("UNSUPPORTED", "tpm2: the endorsement key is not for AES with 128 or 256 bits");
  }
  const key = publicKeyOf(area);
  checkKeyStrength(key, "endorsement key");
  return key;
}

const curves = ["prime256v1", "secp384r1"];
const MIN_RSA_BITS = 2048;
/** No TPM makes keys of any other (Part 2, section 12.2.3.5: 0 stands for it); one of 1 would sign anything for anybody. */
const RSA_EXPONENT = 65_537n;

/** @throws AttestationError UNSUPPORTED */
export function checkKeyStrength(key: KeyObject, what: string): void {
  const { namedCurve = "", modulusLength = 0, publicExponent } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "ec" && curves.includes(namedCurve)) return;
  if (key.asymmetricKeyType === "rsa" && modulusLength >= MIN_RSA_BITS && publicExponent === RSA_EXPONENT) return;
  throw new AttestationError(
    "UNSUPPORTED",
    `tpm2: the ${what} is neither on P-256 or P-384 nor RSA of 2048 bits and the exponent 65537`,
  );
}
