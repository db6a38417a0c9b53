import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";

import { digest, digestSize, type HashName } from "./hash.ts";
import { TpmWriter } from "./marshal.ts";

/** The labels that the specification gives to keys, each with the zero byte that ends it. */
export type KdfLabel = "ATH" | "CFB" | "IDENTITY" | "INTEGRITY" | "SECRET" | "STORAGE";

/** KDFa: SP 800-108 in counter mode over HMAC (Part 1, section 11.4.10.2). Whole bytes only. */
export function kdfA(
  hash: HashName,
  key: Uint8Array,
  label: KdfLabel,
  contextU: Uint8Array,
  contextV: Uint8Array,
  bits: number,
): Buffer {
  return blocks(hash, bits, (counter) =>
    createHmac(hash, key)
      .update(new TpmWriter().u32(counter).bytes(labelBytes(label)).bytes(contextU).bytes(contextV).u32(bits).done())
      .digest(),
  );
}

/** KDFe: SP 800-56A over a plain hash, for secrets that an ECDH exchange made (Part 1, section 11.4.10.3). */
export function kdfE(
  hash: HashName,
  z: Uint8Array,
  label: KdfLabel,
  partyU: Uint8Array,
  partyV: Uint8Array,
  bits: number,
): Buffer {
  return blocks(hash, bits, (counter) =>
    digest(hash, new TpmWriter().u32(counter).done(), z, labelBytes(label), partyU, partyV),
  );
}

/** The label as OAEP and the KDFs take it. */
export function labelBytes(label: KdfLabel): Buffer {
  return Buffer.from(`${label}\0`, "latin1");
}

/** AES in CFB mode: what TPMs encrypt parameters and credentials with. The key's length says how many bits. */
export function encryptCfb(key: Uint8Array, iv: Uint8Array, plain: Uint8Array): Buffer {
  return createCipheriv(cfbName(key), key, iv).update(plain);
}

export function decryptCfb(key: Uint8Array, iv: Uint8Array, cipher: Uint8Array): Buffer {
  return createDecipheriv(cfbName(key), key, iv).update(cipher);
}

function cfbName(key: Uint8Array): string {
  return `aes-${key.length * 8}-cfb`;
}

function blocks(hash: HashName, bits: number, block: (counter: number) => Buffer): Buffer {
  const length = bits / 8;
  const count = Math.ceil(length / digestSize(hash));
  const out = Buffer.alloc(length);
  for (let i = 0; i < count; i++) {
    const part = block(i + 1);
    part.copy(out, i * part.length);
    part.fill(0);
  }
  return out;
}
