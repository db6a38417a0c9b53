import {
  create,
  load,
  startSession,
  storageRoot,
  type Tpm,
  TpmChannelError,
  TpmError,
  type TpmObject,
  type TpmPublic,
  type TpmSequence,
  type TpmSession,
} from "@agentkeys/lib/tpm2";

import type { SealPolicy } from "./seal-policy.ts";
import { UnsealRefused } from "./sealer.ts";
import type { Tpm2Blob } from "./tpm2-blob.ts";

/** Has the TPM wrap something under its storage root key, to be opened by the policy. @throws UnsealRefused */
export function wrapUnderPolicy(
  tpm: Tpm,
  policy: SealPolicy,
  templateFor: (policyDigest: Uint8Array) => TpmPublic,
  data: Uint8Array,
): Promise<Tpm2Blob> {
  return explained(() =>
    tpm.use(async (t) => {
      const { digest, sealedTo } = await policy.prepare(t);
      const root = await storageRoot(t);
      const object = await create(t, root, templateFor(digest), data, await startSession(t, "hmac", root));
      return { ...object, parentName: root.name, ...(sealedTo && { sealedTo }) };
    }),
  );
}

/** Loads it again and uses it in a session that satisfies the policy. @throws UnsealRefused */
export function useUnderPolicy<T>(
  tpm: Tpm,
  policy: SealPolicy,
  blob: Tpm2Blob,
  use: (tpm: TpmSequence, object: TpmObject, session: TpmSession) => Promise<T>,
): Promise<T> {
  return explained(() =>
    tpm.use(async (t) => {
      const root = await storageRoot(t);
      if (!Buffer.from(root.name).equals(blob.parentName)) throw foreign();
      const session = await startSession(t, "policy", root);
      await policy.satisfy(t, session, blob.sealedTo);
      // After the policy, whose release key needs a place in the TPM too.
      return use(t, await load(t, root, blob), session);
    }),
  );
}

function foreign(): UnsealRefused {
  return new UnsealRefused("BLOB", "the blob was sealed by another TPM, or before this TPM was cleared");
}

/** Puts a TPM's refusal into the words of a seal. */
async function explained<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof TpmChannelError) throw new UnsealRefused("DEVICE", cause.message, [], { cause });
    if (!(cause instanceof TpmError)) throw cause;
    const refused = (refusal: UnsealRefused["refusal"], what: string): UnsealRefused =>
      new UnsealRefused(refusal, `${what}: ${cause.message}`, [], { cause });
    if (cause.is("integrity")) throw refused("BLOB", "the blob was changed, or was sealed by another TPM");
    if (cause.is("signature")) throw refused("APPROVAL", "the approval is not signed by the release key");
    if (cause.is("policyFail") || cause.is("pcrChanged")) {
      throw refused("MEASUREMENT", "the master secret was sealed for other code or by another release key");
    }
    throw refused("DEVICE", "the TPM does not open the seal");
  }
}
