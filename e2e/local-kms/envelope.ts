import { constants, createCipheriv, createHash, type KeyObject, publicEncrypt } from "node:crypto";

import { der, derExplicit, derOctets, derOid, derSequence, derUnsigned } from "@agentkeys/lib/evidence/der-writer";
import type { RandomBytes } from "@agentkeys/lib/random";

/** What a forged envelope has instead. */
export interface EnvelopeForgery {
  version?: number;
  maskHash?: string;
  cipher?: string;
}

const SHA256 = "2.16.840.1.101.3.4.2.1";
const AES_256_CBC = "2.16.840.1.101.3.4.1.42";

/**
 * CMS EnvelopedData for one recipient (RFC 5652 section 6) as AWS KMS makes it: in BER, with indefinite lengths, the ciphertext in pieces.
 */
export function envelope(
  plaintext: Uint8Array,
  publicKey: KeyObject,
  random: RandomBytes,
  { version = 2, maskHash = SHA256, cipher = AES_256_CBC }: EnvelopeForgery = {},
): Buffer {
  const [key, iv] = [random(32), random(16)];
  const encrypt = createCipheriv("aes-256-cbc", key, iv);
  const ciphertext = Buffer.concat([encrypt.update(plaintext), encrypt.final()]);
  const wrapped = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" }, key);
  const keyId = createHash("sha1")
    .update(publicKey.export({ format: "der", type: "spki" }))
    .digest();
  const oaep = derSequence(
    derOid("1.2.840.113549.1.1.7"),
    derSequence(
      derExplicit(0, derSequence(derOid(SHA256))),
      derExplicit(1, derSequence(derOid("1.2.840.113549.1.1.8"), derSequence(derOid(maskHash)))),
    ),
  );
  const recipient = derSequence(derUnsigned(version), der(0x80, keyId), oaep, derOctets(wrapped));
  const pieces = [ciphertext.subarray(0, 16), ciphertext.subarray(16)].map((piece) => derOctets(piece));
  const content = indefinite(
    0x30,
    derOid("1.2.840.113549.1.7.1"),
    derSequence(derOid(cipher), derOctets(iv)),
    indefinite(0xa0, ...pieces),
  );
  const enveloped = indefinite(0x30, derUnsigned(version), der(0x31, recipient), content);
  return indefinite(0x30, derOid("1.2.840.113549.1.7.3"), indefinite(0xa0, enveloped));
}

/** X.690 section 8.1.3.6: the end is marked, not counted. */
function indefinite(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.of(tag, 0x80), ...parts, Buffer.of(0, 0)]);
}
