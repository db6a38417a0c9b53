import { constants, createECDH, publicEncrypt } from "node:crypto";

import type { RandomBytes } from "../random.ts";
import { digestSize } from "./hash.ts";
import { kdfE, type KdfLabel, labelBytes } from "./kdf.ts";
import { TpmFormatError, TpmWriter } from "./marshal.ts";
import { curves, padLeft, publicKeyOf, type TpmPublic } from "./public-area.ts";

/** A secret that only the TPM with this decryption key learns too. */
export interface SharedSecret {
  /** As long as a digest of the key's name hash. The caller zeroes it. */
  secret: Buffer;
  /** The contents of the TPM2B_ENCRYPTED_SECRET that tells the TPM. */
  encrypted: Buffer;
}

/**
 * Makes a secret for the TPM that holds the private part of `key`: by ECDH and KDFe, or by RSA-OAEP (Part 1, annexes B.10 and
 * C.6). The label says what for: `SECRET` salts a session, `IDENTITY` protects a credential. @throws TpmFormatError for a key of
 * another kind.
 */
export function shareSecret(key: TpmPublic, label: KdfLabel, random: RandomBytes): SharedSecret {
  const size = digestSize(key.nameHash);
  switch (key.type) {
    case "ecc": {
      const curve = curves[key.curve];
      const own = createECDH(curve.node);
      const point = own.generateKeys();
      const [x, y] = [point.subarray(1, 1 + curve.size), point.subarray(1 + curve.size)];
      const keyX = padLeft(key.x, curve.size);
      const z = padLeft(agreed(own, keyX, padLeft(key.y, curve.size)), curve.size);
      const secret = kdfE(key.nameHash, z, label, x, keyX, size * 8);
      z.fill(0);
      return { secret, encrypted: new TpmWriter().sized(x).sized(y).done() };
    }
    case "rsa": {
      const secret = Buffer.alloc(size);
      secret.set(random(size));
      return { secret, encrypted: encryptedTo(key, secret, label) };
    }
    case "keyed-hash":
      throw new TpmFormatError("the public area is of data; nothing can be encrypted to it");
  }
}

function encryptedTo(key: TpmPublic, secret: Buffer, label: KdfLabel): Buffer {
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const options = { key: publicKeyOf(key), padding, oaepHash: key.nameHash, oaepLabel: labelBytes(label) };
  try {
    return publicEncrypt(options, secret);
  } catch {
    throw new TpmFormatError("the public area holds a modulus that nothing can be encrypted to");
  }
}

function agreed(own: ReturnType<typeof createECDH>, x: Buffer, y: Buffer): Buffer {
  try {
    return own.computeSecret(Buffer.concat([Uint8Array.of(4), x, y]));
  } catch {
    throw new TpmFormatError("the public area holds a point that is not on its curve");
  }
}
