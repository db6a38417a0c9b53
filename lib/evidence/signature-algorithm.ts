import { constants, type KeyObject, verify } from "node:crypto";

import { childrenOf, type Der, oidOf, sequenceOf, smallIntegerOf } from "./der.ts";
import { AttestationError } from "./evidence.ts";

/** How a certificate or revocation list is signed. What is weaker than SHA-256 is none of these. */
export type SignatureAlgorithm =
  { scheme: "ecdsa" | "rsassa"; hash: Sha2 } | { scheme: "rsapss"; hash: Sha2; saltLength: number };

type Sha2 = "sha256" | "sha384" | "sha512";

/** ECDSA with SHA-2 (RFC 5758); RSA with SHA-2 (RFC 4055), PKCS #1 v1.5. */
const plainAlgorithms: Readonly<Record<string, SignatureAlgorithm>> = {
  "1.2.840.10045.4.3.2": { scheme: "ecdsa", hash: "sha256" },
  "1.2.840.10045.4.3.3": { scheme: "ecdsa", hash: "sha384" },
  "1.2.840.10045.4.3.4": { scheme: "ecdsa", hash: "sha512" },
  "1.2.840.113549.1.1.11": { scheme: "rsassa", hash: "sha256" },
  "1.2.840.113549.1.1.12": { scheme: "rsassa", hash: "sha384" },
  "1.2.840.113549.1.1.13": { scheme: "rsassa", hash: "sha512" },
};
const RSA_PSS = "1.2.840.113549.1.1.10";
const MGF1 = "1.2.840.113549.1.1.8";
const sha2: Readonly<Record<string, Sha2>> = {
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
};

/** Reads an AlgorithmIdentifier; `what` is whose, for messages. @throws AttestationError MALFORMED, UNSUPPORTED */
export function readSignatureAlgorithm(algorithm: Der | undefined, what: string): SignatureAlgorithm {
  const [oid, parameters] = sequenceOf(algorithm);
  const name = oidOf(oid);
  const plain = Object.hasOwn(plainAlgorithms, name) ? plainAlgorithms[name] : undefined;
  if (plain !== undefined) return plain;
  if (name !== RSA_PSS) throw new AttestationError("UNSUPPORTED", `${what} is signed by the algorithm ${name}`);
  return readPss(parameters, what);
}

/** RFC 4055 section 3.1. Left out, hash and mask are by SHA-1: so they have to be there, and the same; the trailer has one value. */
function readPss(parameters: Der | undefined, what: string): SignatureAlgorithm {
  const list = sequenceOf(parameters);
  const fields = new Map(list.map((field) => [field.tag, childrenOf(field)[0]]));
  const hash = sha2[oidOf(sequenceOf(fields.get(0xa0))[0])];
  const [mask, maskParameters] = sequenceOf(fields.get(0xa1));
  const maskHash = sha2[oidOf(sequenceOf(maskParameters)[0])];
  const saltLength = smallIntegerOf(fields.get(0xa2));
  const others = [...fields.keys()].filter((tag) => tag < 0xa0 || tag > 0xa3);
  const trailer = fields.has(0xa3) ? smallIntegerOf(fields.get(0xa3)) : 1;
  const isOdd = fields.size !== list.length || others.length > 0 || trailer !== 1;
  if (isOdd || hash === undefined || oidOf(mask) !== MGF1 || maskHash !== hash || saltLength < 32) {
    throw new AttestationError("UNSUPPORTED", `${what} is signed by RSA-PSS with a hash or salt that is too weak`);
  }
  return { scheme: "rsapss", hash, saltLength };
}

/** Whether the key made this signature in this way, and in no other; a key of another kind than the algorithm's made none. */
export function isSignedAs(
  algorithm: SignatureAlgorithm,
  { signed, key, signature }: { signed: Uint8Array; key: KeyObject; signature: Uint8Array },
): boolean {
  const { scheme, hash } = algorithm;
  if (key.asymmetricKeyType !== (scheme === "ecdsa" ? "ec" : "rsa")) return false;
  switch (scheme) {
    case "ecdsa":
      return verify(hash, signed, key, signature);
    case "rsassa":
      return verify(hash, signed, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
    case "rsapss": {
      // The mask is made by the same hash: `readPss` takes no other.
      const { saltLength } = algorithm;
      return verify(hash, signed, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature);
    }
  }
}
