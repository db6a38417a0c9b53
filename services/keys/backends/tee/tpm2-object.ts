import {
  counterName,
  create,
  load,
  parsePublic,
  policyCounterAtMost,
  policyWithCounterAtMost,
  readCounter,
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

import { advanceCounter, NV_RELEASES, NV_SEAL, startedCounter } from "./nv.ts";
import { checkOrigin } from "./origin.ts";
import { leastAt, retired, SECURITY_VERSIONS, type SealPolicy } from "./seal-policy.ts";
import { UnsealRefused } from "./sealer.ts";
import type { SealTerms, Tpm2Blob } from "./tpm2-blob.ts";

/**
 * Has the TPM wrap something under its storage root key, to be opened by the policy for as long as the seal counter is not beyond where
 * it is now: one step further where the blob `replaces` another, which `retireOlder` makes void then. @throws UnsealRefused
 */
export function wrapUnderPolicy(
  tpm: Tpm,
  policy: SealPolicy,
  templateFor: (policyDigest: Uint8Array) => TpmPublic,
  data: Uint8Array,
  replaces?: Tpm2Blob,
): Promise<Tpm2Blob> {
  return explained(() =>
    tpm.use(async (t) => {
      const root = await storageRoot(t);
      const session = await startSession(t, "hmac", root);
      const code = await policy.prepare(t, session, replaces?.terms.code);
      const now = await startedCounter(t, NV_SEAL, session);
      const terms: SealTerms = { code, counter: replaces === undefined ? now : after(now, replaces.terms.counter) };
      const digest = digestOf(policy, terms);
      if (digest === undefined) throw new Error("a policy prepared terms that are not its own");
      const { pcrs, approval } = await policy.maker(t);
      const { creation, ...object } = await create(t, root, templateFor(digest), data, session, pcrs);
      return { ...object, parentName: root.name, terms, origin: { creation, ...(approval && { approval }) } };
    }),
  );
}

/** Makes sure that code which the policy lets in has made it. Once, before anything of it is used. @throws UnsealRefused ORIGIN */
export function checkMaker(tpm: TpmSequence, policy: SealPolicy, blob: Tpm2Blob, object: TpmObject): Promise<void> {
  return checkOrigin(tpm, object, blob.origin, policy.codeOf(blob.terms.code, blob.origin.approval));
}

/** Loads it again and uses it in a session that satisfies the policy. @throws UnsealRefused */
export async function useUnderPolicy<T>(
  tpm: Tpm,
  policy: SealPolicy,
  blob: Tpm2Blob,
  use: (tpm: TpmSequence, object: TpmObject, session: TpmSession) => Promise<T>,
): Promise<T> {
  return explained(async () => {
    try {
      return await tpm.use(async (t) => {
        const root = await storageRoot(t);
        if (!Buffer.from(root.name).equals(blob.parentName)) throw foreign();
        if (!isSealedFor(policy, blob)) throw otherPolicy();
        const session = await startSession(t, "policy", root);
        await policy.satisfy(t, session, blob.terms.code);
        await policyCounterAtMost(t, session, NV_SEAL, blob.terms.counter);
        // After the policy, whose release key needs a place in the TPM too.
        return use(t, await load(t, root, blob), session);
      });
    } catch (error) {
      const byCounter = error instanceof TpmError && COUNTER_ERRORS.some((kind) => error.is(kind));
      throw (byCounter ? await tpm.use((t) => closedByCounter(t, policy, blob.terms, error)) : undefined) ?? error;
    }
  });
}

/** Whether it opens for what this policy is for: another release key's blob does not. */
export function isSealedFor(policy: SealPolicy, { terms, public: area }: Tpm2Blob): boolean {
  return digestOf(policy, terms)?.equals(parsePublic(area).authPolicy) === true;
}

/** Makes void, for ever, what was sealed before this blob replaced it, wherever copies are. To be called once the blob is kept safely. */
export function retireOlder(tpm: Tpm, { terms }: Tpm2Blob): Promise<void> {
  return explained(() =>
    tpm.use(async (t) => {
      const session = await startSession(t, "hmac", await storageRoot(t));
      await advanceCounter(t, NV_SEAL, terms.counter, session);
    }),
  );
}

/** Beyond both: the process that made what is replaced may have ended before the counter was there. */
function after(now: bigint, replaced: bigint): bigint {
  return (now > replaced ? now : replaced) + 1n;
}

function digestOf(policy: SealPolicy, { code, counter }: SealTerms): Buffer | undefined {
  const digest = policy.digestOf(code);
  return digest && policyWithCounterAtMost(digest, counterName(NV_SEAL), counter);
}

const COUNTER_ERRORS = ["policy", "nvUnwritten", "handle"] as const;

/** Why a counter keeps the seal shut. `undefined` where none of them does now. */
async function closedByCounter(
  tpm: TpmSequence,
  policy: SealPolicy,
  { code, counter }: SealTerms,
  cause: TpmError,
): Promise<UnsealRefused | undefined> {
  const session = await startSession(tpm, "hmac", await storageRoot(tpm));
  const seal = await readCounter(tpm, NV_SEAL, session);
  if (seal === undefined) return deleted(NV_SEAL, cause);
  if (seal > counter) {
    const what = "the master secret was sealed anew since this blob was made, or the TPM's seal counter was made anew";
    return new UnsealRefused("BLOB", `${what}: restore the newest state file`, [], { cause });
  }
  if (!("releases" in code)) return undefined;
  const value = await readCounter(tpm, NV_RELEASES, session);
  if (value === undefined) return deleted(NV_RELEASES, cause);
  const least = leastAt(code.releases, value);
  if (least >= code.releases.least + SECURITY_VERSIONS) return beyondAll(cause);
  const running = await policy.approvalOfRunningCode?.(tpm, code.releases);
  return running !== undefined && running.securityVersion < least ? retired(running, least) : undefined;
}

function deleted(index: number, cause: TpmError): UnsealRefused {
  const what = `the counter at 0x${index.toString(16)}, which the seal depends on, was deleted in this TPM`;
  return new UnsealRefused("BLOB", `${what}: the blob opens no more, and no copy of it does`, [], { cause });
}

function beyondAll(cause: TpmError): UnsealRefused {
  const what = "the TPM's counter of retired releases is beyond every release that the seal knows";
  return new UnsealRefused("BLOB", `${what}: it was deleted and made anew, or counted up by something else`, [], {
    cause,
  });
}

function otherPolicy(): UnsealRefused {
  return new UnsealRefused(
    "APPROVAL",
    "the master secret was sealed for another release key or other PCRs than the settings name, or its terms were changed",
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
