import { createHmac } from "node:crypto";

import { type RandomBytes, systemRandom } from "../random.ts";
import { digestSize } from "./hash.ts";
import { encryptCfb, kdfA } from "./kdf.ts";
import { TpmFormatError, TpmWriter } from "./marshal.ts";
import type { TpmPublic } from "./public-area.ts";
import { shareSecret } from "./shared-secret.ts";

/** What TPM2_ActivateCredential takes: the contents of its two parameters. */
export interface CredentialChallenge {
  /** TPMS_ID_OBJECT: an HMAC and the encrypted credential. */
  credential: Uint8Array;
  /** The seed of those, encrypted to the endorsement key. */
  encryptedSeed: Uint8Array;
}

const NOTHING = new Uint8Array();
const CFB_IV_BYTES = 16;

/**
 * TPM2_MakeCredential in software (Part 1, section 24): wraps `secret` so that a TPM gives it out only if it holds the private part
 * of this endorsement key AND a key of this name. Whoever sends the secret back has both in one TPM.
 * @throws TpmFormatError when the endorsement key is none that decrypts.
 */
export function makeCredential(
  endorsementKey: TpmPublic,
  keyName: Uint8Array,
  secret: Uint8Array,
  random: RandomBytes = systemRandom,
): CredentialChallenge {
  const hash = endorsementKey.nameHash;
  if (endorsementKey.type === "keyed-hash" || endorsementKey.aesBits === undefined) {
    throw new TpmFormatError("the public area is of no storage key; no credential can be made for it");
  }
  const seed = shareSecret(endorsementKey, "IDENTITY", random);
  const storageKey = kdfA(hash, seed.secret, "STORAGE", keyName, NOTHING, endorsementKey.aesBits);
  const identity = encryptCfb(storageKey, Buffer.alloc(CFB_IV_BYTES), new TpmWriter().sized(secret).done());
  const hmacKey = kdfA(hash, seed.secret, "INTEGRITY", NOTHING, NOTHING, digestSize(hash) * 8);
  const integrity = createHmac(hash, hmacKey).update(identity).update(keyName).digest();
  for (const key of [seed.secret, storageKey, hmacKey]) key.fill(0);
  return { credential: new TpmWriter().sized(integrity).bytes(identity).done(), encryptedSeed: seed.encrypted };
}
