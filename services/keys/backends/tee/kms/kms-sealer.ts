import { createCipheriv, createDecipheriv, createHash, generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";

import type { RandomBytes } from "@agentkeys/lib/random";

import { type Sealer, UnsealRefused } from "../sealer.ts";
import { EnvelopeRefused, openEnvelopedData } from "./enveloped-data.ts";

/** The hypervisor's document about this enclave or instance, with the given key in it (SubjectPublicKeyInfo, DER). */
export type AttestKey = (publicKey: Uint8Array) => Promise<Uint8Array>;

/** A data key as a KMS gives it to an attested recipient: never in the clear. */
export interface KmsAnswer {
  /** CMS EnvelopedData for the recipient's key. */
  ciphertextForRecipient: Uint8Array | undefined;
  /** Must be absent: a KMS that gives it has not looked at the document. */
  plaintext: Uint8Array | undefined;
  /** The ARN of the key that was used. */
  keyId: string | undefined;
}

/** The two calls of AWS KMS that are needed; see aws-kms.ts. A refusal of the service is thrown as a `KmsRefused`. */
export interface Kms {
  generateDataKey(o: Attested): Promise<KmsAnswer & { ciphertextBlob: Uint8Array | undefined }>;
  decrypt(o: Attested & { ciphertextBlob: Uint8Array }): Promise<KmsAnswer>;
}

interface Attested {
  /** The ARN of the key. */
  keyId: string;
  attestationDocument: Uint8Array;
  /** Bound to the data key, and in CloudTrail: no secret. */
  encryptionContext: Record<string, string>;
}

/** The service said no, or was not to be reached. */
export class KmsRefused extends Error {
  override readonly name = "KmsRefused";
}

const TYPE = "aws-kms-recipient";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Seals under a key of AWS KMS whose policy lets only an attested recipient use it (`kms:RecipientAttestation:…`): the KMS encrypts its
 * answer to a key that was made in here for this one call and stands in the hypervisor's document, so that nobody on the way, the
 * operator of the instance among them, sees it. The secret itself never goes to the KMS: a data key does, and encrypts the secret here.
 */
export function createKmsSealer(o: { kms: Kms; attest: AttestKey; keyId: string; random: RandomBytes }): Sealer {
  const { kms, keyId } = o;
  const contextOf = (aad: Uint8Array): Record<string, string> => ({
    "agentkeys:purpose": "master-secret",
    "agentkeys:state": createHash("sha256").update(aad).digest("hex"),
  });

  /** Makes a key, has it attested, asks, and opens the answer. */
  async function ask<T extends KmsAnswer>(call: (document: Uint8Array) => Promise<T>) {
    const { publicKey, privateKey } = await promisify(generateKeyPair)("rsa", { modulusLength: 2048 });
    const answer = await call(await o.attest(publicKey.export({ format: "der", type: "spki" })));
    return { answer, dataKey: openAnswer(answer, keyId, privateKey) };
  }

  return {
    type: TYPE,
    seal: (secret, aad) =>
      refusing(async () => {
        const { answer, dataKey } = await ask((attestationDocument) =>
          kms.generateDataKey({ keyId, attestationDocument, encryptionContext: contextOf(aad) }),
        );
        try {
          const { ciphertextBlob } = answer;
          if (ciphertextBlob === undefined) throw new EnvelopeRefused("the KMS gave no encrypted data key");
          const nonce = o.random(NONCE_BYTES);
          const cipher = createCipheriv("aes-256-gcm", dataKey, nonce);
          cipher.setAAD(aad);
          const sealed = Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
          return Buffer.from(
            JSON.stringify({ v: 1, key: base64(ciphertextBlob), nonce: base64(nonce), sealed: base64(sealed) }),
          );
        } finally {
          dataKey.fill(0);
        }
      }),
    unseal: (blob, aad) =>
      refusing(async () => {
        const { key, nonce, sealed } = readBlob(blob);
        const { dataKey } = await ask((attestationDocument) =>
          kms.decrypt({ keyId, ciphertextBlob: key, attestationDocument, encryptionContext: contextOf(aad) }),
        );
        try {
          return opened(dataKey, nonce, sealed, aad);
        } finally {
          dataKey.fill(0);
        }
      }),
  };
}

function openAnswer({ ciphertextForRecipient, plaintext, keyId }: KmsAnswer, asked: string, key: KeyObject): Buffer {
  if (plaintext !== undefined && plaintext.length > 0) {
    plaintext.fill(0);
    throw new EnvelopeRefused("the KMS answered in the clear: it did not look at the attestation document");
  }
  if (keyId !== asked) throw new EnvelopeRefused("the KMS used another key than the one that is configured");
  if (ciphertextForRecipient === undefined) throw new EnvelopeRefused("the KMS gave nothing for its recipient");
  const dataKey = openEnvelopedData(ciphertextForRecipient, key);
  if (dataKey.length === 32) return dataKey;
  dataKey.fill(0);
  throw new EnvelopeRefused("the KMS gave a data key that is not 32 bytes");
}

function opened(dataKey: Buffer, nonce: Buffer, sealed: Buffer, aad: Uint8Array): Buffer {
  let secret = Buffer.alloc(0);
  try {
    const decipher = createDecipheriv("aes-256-gcm", dataKey, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(aad);
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    secret = decipher.update(sealed.subarray(0, -TAG_BYTES));
    decipher.final();
    return secret;
  } catch {
    // It may be the right one under a tag that was changed.
    secret.fill(0);
    throw new UnsealRefused("BLOB", "the sealed master secret was changed, or belongs to another state file");
  }
}

function readBlob(blob: Uint8Array): { key: Buffer; nonce: Buffer; sealed: Buffer } {
  const text = Buffer.from(blob).toString("utf8");
  const fields = /^\{"v":1,"key":"([\w+/=]+)","nonce":"([\w+/=]+)","sealed":"([\w+/=]+)"\}$/.exec(text);
  const [key, nonce, sealed] = (fields?.slice(1) ?? []).map((field) => Buffer.from(field, "base64"));
  if (key === undefined || nonce?.length !== NONCE_BYTES || sealed === undefined || sealed.length <= TAG_BYTES) {
    throw new UnsealRefused("BLOB", `the sealed master secret is not one that ${TYPE} made`);
  }
  return { key, nonce, sealed };
}

/** All that the service says or gives is told in the words of the seal. */
async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof KmsRefused || error instanceof EnvelopeRefused)) throw error;
    throw new UnsealRefused("DEVICE", `AWS KMS does not give the key: ${error.message}`, [], { cause: error });
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
