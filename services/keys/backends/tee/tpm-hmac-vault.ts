import { hmac, template, type Tpm, type TpmPublic } from "@agentkeys/lib/tpm2";

import { deriveFor, extractKey, rootKeyOver } from "./root-key.ts";
import type { SealPolicy } from "./seal-policy.ts";
import type { RootKey, RootKeyVault, SealedRootKey } from "./sealer.ts";
import { formatTpm2Blob, parseTpm2Blob, type Tpm2Blob } from "./tpm2-blob.ts";
import { checkMaker, isSealedFor, useUnderPolicy, wrapUnderPolicy } from "./tpm2-object.ts";

/**
 * The pseudorandom key of HKDF as an HMAC key of the TPM: TPM2_HMAC of `info || counter` is HKDF-Expand, so the key that everything
 * is made of is never in memory, and one wallet's key is for the length of a signature. Each derivation is a round of commands with
 * the TPM: milliseconds with a software TPM, tens to hundreds with a chip.
 */
export function tpmHmacVault({ tpm, policy }: { tpm: Tpm; policy: SealPolicy }): RootKeyVault {
  async function made(blob: Tpm2Blob): Promise<SealedRootKey> {
    return { blob: formatTpm2Blob(blob), key: await opened(blob) };
  }

  /** Used once before it is handed out: a key that the policy keeps closed has to show now. */
  async function opened(blob: Tpm2Blob): Promise<RootKey> {
    await useUnderPolicy(tpm, policy, blob, (t, object) => checkMaker(t, policy, blob, object));
    let destroyed = false;
    const key = rootKeyOver(
      (data) =>
        destroyed
          ? Promise.reject(new Error("the root key was destroyed"))
          : useUnderPolicy(tpm, policy, blob, (t, object, session) => hmac(t, object, data, session)),
      () => (destroyed = true),
    );
    (await deriveFor(key, "state")).fill(0);
    return key;
  }

  return {
    type: `${policy.type}-hmac`,
    create: async () => {
      const inside = (digest: Uint8Array): TpmPublic => template.hmacKey(digest, "made-inside");
      return made(await wrapUnderPolicy(tpm, policy, inside, new Uint8Array()));
    },
    bringIn: async (masterSecret) => {
      const pseudorandomKey = extractKey(masterSecret);
      try {
        const outside = (digest: Uint8Array): TpmPublic => template.hmacKey(digest, "brought-in");
        return await made(await wrapUnderPolicy(tpm, policy, outside, pseudorandomKey));
      } finally {
        pseudorandomKey.fill(0);
      }
    },
    open: (blob) => opened(parseTpm2Blob(blob)),
    isSealedFor: (blob) => isSealedFor(policy, parseTpm2Blob(blob)),
  };
}
