import { createHash } from "node:crypto";

import { equalSecrets } from "@agentkeys/lib/secret";
import { template, type Tpm, unseal } from "@agentkeys/lib/tpm2";

import type { SealPolicy } from "./seal-policy.ts";
import { type Sealer, UnsealRefused } from "./sealer.ts";
import { formatTpm2Blob, parseTpm2Blob } from "./tpm2-blob.ts";
import { checkMaker, isSealedFor, retireOlder, useUnderPolicy, wrapUnderPolicy } from "./tpm2-object.ts";

/** A TPM seals at most 128 bytes; the digest of what goes along takes 32. */
const MAX_SECRET = 64;
const DIGEST_BYTES = 32;

/** Seals in a TPM 2.0, whichever: the one of the machine, of a virtual machine, or a software one in tests. */
export function tpm2Sealer({ tpm, policy }: { tpm: Tpm; policy: SealPolicy }): Sealer {
  return {
    type: policy.type,
    seal: async (secret, aad, replaced) => {
      if (secret.length > MAX_SECRET) throw new RangeError(`at most ${MAX_SECRET} bytes can be sealed`);
      const data = Buffer.alloc(secret.length + DIGEST_BYTES);
      data.set(secret);
      data.set(digestOf(aad), secret.length);
      try {
        const replaces = replaced && parseTpm2Blob(replaced);
        return formatTpm2Blob(await wrapUnderPolicy(tpm, policy, template.sealedData, data, replaces));
      } finally {
        data.fill(0);
      }
    },
    unseal: async (bytes, aad) => {
      const blob = parseTpm2Blob(bytes);
      const data = await useUnderPolicy(tpm, policy, blob, async (t, object, session) => {
        await checkMaker(t, policy, blob, object);
        return unseal(t, object, session);
      });
      try {
        const split = data.length - DIGEST_BYTES;
        if (split < 0 || !equalSecrets(data.subarray(split), digestOf(aad))) {
          throw new UnsealRefused("BLOB", "the blob was sealed for another purpose");
        }
        const secret = Buffer.alloc(split);
        secret.set(data.subarray(0, split));
        return secret;
      } finally {
        data.fill(0);
      }
    },
    isSealedFor: (bytes) => isSealedFor(policy, parseTpm2Blob(bytes)),
    retireOlder: (bytes) => retireOlder(tpm, parseTpm2Blob(bytes)),
  };
}

function digestOf(aad: Uint8Array): Buffer {
  return createHash("sha256").update(aad).digest();
}
