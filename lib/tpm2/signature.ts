import { constants, type KeyObject, verify } from "node:crypto";

import { algorithm } from "./constants.ts";
import { hashNumber, hashOfNumber, type HashName } from "./hash.ts";
import { TpmReader, TpmWriter } from "./marshal.ts";
import { padLeft } from "./public-area.ts";

/** TPMT_SIGNATURE (Part 2, section 11.3.4). */
export type TpmSignature =
  | { scheme: "ecdsa"; hash: HashName; r: Uint8Array; s: Uint8Array }
  | { scheme: "rsassa" | "rsapss"; hash: HashName; value: Uint8Array };

const MAX_SCALAR = 48;
const MAX_RSA_BYTES = 512;

/** @throws TpmFormatError */
export function parseSignature(bytes: Uint8Array): TpmSignature {
  return TpmReader.whole(bytes, "the signature", (reader) => {
    const number = reader.u16();
    const scheme = (["ecdsa", "rsassa", "rsapss"] as const).find((name) => algorithm[name] === number);
    if (scheme === undefined) throw reader.wrong(`is of an unknown scheme 0x${number.toString(16)}`);
    const hashId = reader.u16();
    const hash = hashOfNumber(hashId);
    if (hash === undefined) throw reader.wrong(`names an unknown hash 0x${hashId.toString(16)}`);
    if (scheme === "ecdsa") return { scheme, hash, r: reader.sized(MAX_SCALAR), s: reader.sized(MAX_SCALAR) };
    return { scheme, hash, value: reader.sized(MAX_RSA_BYTES) };
  });
}

export function marshalSignature(signature: TpmSignature): Buffer {
  const writer = new TpmWriter().u16(algorithm[signature.scheme]).u16(hashNumber(signature.hash));
  return signature.scheme === "ecdsa"
    ? writer.sized(signature.r).sized(signature.s).done()
    : writer.sized(signature.value).done();
}

/** Whether the key made this signature over the message. One by SHA-1, or of another kind than the key, is by no key. */
export function isSignedBy(key: KeyObject, message: Uint8Array, signature: TpmSignature): boolean {
  if (signature.hash === "sha1") return false;
  if (signature.scheme === "ecdsa") {
    const size = scalarSize(key);
    if (size === undefined || signature.r.length > size || signature.s.length > size) return false;
    const raw = Buffer.concat([padLeft(signature.r, size), padLeft(signature.s, size)]);
    return verify(signature.hash, message, { key, dsaEncoding: "ieee-p1363" }, raw);
  }
  if (key.asymmetricKeyType !== "rsa") return false;
  const padding = signature.scheme === "rsassa" ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_PSS_PADDING;
  return verify(signature.hash, message, { key, padding }, signature.value);
}

function scalarSize(key: KeyObject): number | undefined {
  switch (key.asymmetricKeyDetails?.namedCurve) {
    case "prime256v1":
      return 32;
    case "secp384r1":
      return 48;
    default:
      return undefined;
  }
}
