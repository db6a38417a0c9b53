import { algorithm, commandCode } from "../constants.ts";
import type { TpmSequence } from "../client.ts";
import type { CredentialChallenge } from "../credential.ts";
import { TpmWriter } from "../marshal.ts";
import { pcrSelection } from "../pcr.ts";
import type { TpmSession } from "../session.ts";
import type { TpmObject } from "./objects.ts";

const MAX_ATTEST = 1024;

/** TPM2_Quote by the key's own scheme: TPMS_ATTEST and TPMT_SIGNATURE as the TPM made them. */
export async function quote(
  tpm: TpmSequence,
  key: TpmObject,
  extraData: Uint8Array,
  pcrs: readonly number[],
): Promise<{ attest: Buffer; signature: Buffer }> {
  const { parameters } = await tpm.execute({
    code: commandCode.quote,
    entities: [key],
    authorizations: ["empty-password"],
    parameters: new TpmWriter().sized(extraData).u16(algorithm.null).bytes(pcrSelection(pcrs)).done(),
  });
  return { attest: parameters.sized(MAX_ATTEST), signature: parameters.rest() };
}

/**
 * TPM2_ActivateCredential: the credential in the challenge, if it was made for this attestation key beside this endorsement key.
 * The session has to satisfy the endorsement key's policy. @throws TpmError `integrity` or `value` otherwise.
 */
export async function activateCredential(
  tpm: TpmSequence,
  attestationKey: TpmObject,
  endorsementKey: TpmObject,
  challenge: CredentialChallenge,
  session: TpmSession,
): Promise<Buffer> {
  const { parameters } = await tpm.execute({
    code: commandCode.activateCredential,
    entities: [attestationKey, endorsementKey],
    authorizations: ["empty-password", { session, encryptAnswer: true }],
    parameters: new TpmWriter().sized(challenge.credential).sized(challenge.encryptedSeed).done(),
  });
  const secret = parameters.sized(64);
  parameters.end();
  parameters.wipe();
  return secret;
}
