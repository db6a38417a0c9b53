import { commandCode, handle, structureTag } from "../constants.ts";
import { permanent, type TpmSequence } from "../client.ts";
import { digest } from "../hash.ts";
import { TpmWriter } from "../marshal.ts";
import { pcrSelection } from "../pcr.ts";
import { authorizationMessage, operandOf, UNSIGNED_AT_MOST } from "../policy.ts";
import type { TpmSession } from "../session.ts";
import { marshalSignature, type TpmSignature } from "../signature.ts";
import { loadExternal } from "./objects.ts";
import type { TpmPublic } from "../public-area.ts";

const NOTHING = new Uint8Array();

/** A policy that the holder of a key has approved. */
export interface Authorization {
  key: TpmPublic;
  policy: Uint8Array;
  reference: Uint8Array;
  /** By the key, over `authorizationMessage(policy, reference)`. */
  signature: TpmSignature;
}

/** TPM2_PolicyPCR: the session's policy now says what these PCRs of the SHA-256 bank hold at this moment. */
export async function policyPcr(tpm: TpmSequence, session: TpmSession, pcrs: readonly number[]): Promise<void> {
  await tpm.execute({
    code: commandCode.policyPcr,
    entities: [permanent(session.handle)],
    parameters: new TpmWriter().sized(NOTHING).bytes(pcrSelection(pcrs)).done(),
  });
}

/** TPM2_PolicySecret of the endorsement hierarchy with its empty password: what the endorsement key's policy asks for. */
export async function policyEndorsement(tpm: TpmSequence, session: TpmSession): Promise<void> {
  await tpm.execute({
    code: commandCode.policySecret,
    entities: [permanent(handle.endorsement), permanent(session.handle)],
    authorizations: ["empty-password"],
    parameters: new TpmWriter().sized(NOTHING).sized(NOTHING).sized(NOTHING).u32(0).done(),
  });
}

/**
 * TPM2_VerifySignature, then TPM2_PolicyAuthorize: where the session's policy is the approved one, it becomes "approved by this
 * key". @throws TpmError `signature` for another key's approval, `value` when the session's policy is another.
 */
export async function policyAuthorize(tpm: TpmSequence, session: TpmSession, approval: Authorization): Promise<void> {
  const { key, policy, reference, signature } = approval;
  const loaded = await loadExternal(tpm, key);
  const { parameters } = await tpm.execute({
    code: commandCode.verifySignature,
    entities: [loaded],
    parameters: new TpmWriter()
      .sized(digest("sha256", authorizationMessage(policy, reference)))
      .bytes(marshalSignature(signature))
      .done(),
  });
  const tag = parameters.u16();
  if (tag !== structureTag.verified) throw parameters.wrong("is no ticket of a verified signature");
  const [hierarchy, ticket] = [parameters.u32(), parameters.sized(64)];
  parameters.end();
  await tpm.flush(loaded);
  await tpm.execute({
    code: commandCode.policyAuthorize,
    entities: [permanent(session.handle)],
    parameters: new TpmWriter()
      .sized(policy)
      .sized(reference)
      .sized(loaded.name)
      .u16(tag)
      .u32(hierarchy)
      .sized(ticket)
      .done(),
  });
}

/**
 * TPM2_PolicyNV: goes on only while the counter is not beyond the limit (UINT64, `<=`). @throws TpmError `policy` when it is, `nvUnwritten`
 * or `handle` where there is no counter
 */
export async function policyCounterAtMost(
  tpm: TpmSequence,
  session: TpmSession,
  index: number,
  limit: bigint,
): Promise<void> {
  await tpm.execute({
    code: commandCode.policyNv,
    entities: [permanent(index), permanent(index), permanent(session.handle)],
    authorizations: ["empty-password"],
    parameters: new TpmWriter().sized(operandOf(limit)).u16(0).u16(UNSIGNED_AT_MOST).done(),
  });
}

/** TPM2_PolicyOR: where the session's policy is one of these, it becomes "one of these". @throws TpmError `value` where it is none */
export async function policyOr(tpm: TpmSequence, session: TpmSession, policies: readonly Uint8Array[]): Promise<void> {
  const list = new TpmWriter().u32(policies.length);
  for (const policy of policies) list.sized(policy);
  await tpm.execute({ code: commandCode.policyOr, entities: [permanent(session.handle)], parameters: list.done() });
}

/** TPM2_PolicyGetDigest: what the session's policy has come to. */
export async function policyDigest(tpm: TpmSequence, session: TpmSession): Promise<Buffer> {
  const { parameters } = await tpm.execute({
    code: commandCode.policyGetDigest,
    entities: [permanent(session.handle)],
  });
  const found = parameters.sized(32);
  parameters.end();
  return found;
}
