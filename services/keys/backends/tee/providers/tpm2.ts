import { mediaTypes } from "@agentkeys/lib/evidence/evidence";
import { formatTpm2Evidence, type Tpm2Evidence } from "@agentkeys/lib/evidence/tpm2-evidence";
import {
  activateCredential,
  createPrimary,
  EK_RSA_CERTIFICATE_INDEX,
  EK_RSA_HANDLE,
  parseSignature,
  policyEndorsement,
  quote,
  readNv,
  readPcrs,
  readPublic,
  startSession,
  template,
  type Tpm,
  TpmError,
  type TpmObject,
  type TpmSequence,
} from "@agentkeys/lib/tpm2";

import type { EvidenceProvider } from "../provider.ts";

/** Names our attestation key among all that a TPM can make: the same at every boot. Another label is another identity. */
const ATTESTATION_KEY = "agentkeys-ak-v1";

/**
 * Quotes of the machine's TPM by a key that it makes anew, and the same, each time. `issuers` are certificates (DER) above the TPM's
 * own, the root last: few TPMs bring them along.
 */
export function tpm2Provider({
  tpm,
  pcrs,
  issuers,
}: {
  tpm: Tpm;
  /** Which PCRs are quoted: at least those that policies pin. */
  pcrs: readonly number[];
  issuers: readonly Uint8Array[];
}): EvidenceProvider {
  let endorsement: Promise<Endorsement | undefined> | undefined;
  const attestationKey = (t: TpmSequence): Promise<TpmObject> =>
    createPrimary(t, "endorsement", template.attestationKey(ATTESTATION_KEY));

  return {
    mediaType: mediaTypes.tpm2,
    evidence: async (reportData) => {
      // It does not change while the machine runs. A failure is no answer: the next call asks again.
      endorsement ??= tpm.use(readEndorsement).catch((error: unknown) => {
        endorsement = undefined;
        throw error;
      });
      const endorsed = await endorsement;
      const made = await tpm.use(async (t): Promise<Tpm2Evidence> => {
        const key = await attestationKey(t);
        const { attest, signature } = await quote(t, key, reportData, pcrs);
        return {
          attest,
          signature: parseSignature(signature),
          akPublic: key.public,
          pcrs: await readPcrs(t, pcrs),
          ...(endorsed && { ekPublic: endorsed.key.public }),
        };
      });
      const certificate = endorsed?.certificate;
      return {
        mediaType: mediaTypes.tpm2,
        evidence: formatTpm2Evidence(made),
        endorsements: certificate === undefined ? [] : [certificate, ...issuers],
      };
    },
    activate: (challenge) =>
      tpm.use(async (t) => {
        const endorsementKey = await readPublic(t, EK_RSA_HANDLE);
        const session = await startSession(t, "policy", endorsementKey);
        await policyEndorsement(t, session);
        return activateCredential(t, await attestationKey(t), endorsementKey, challenge, session);
      }),
  };
}

interface Endorsement {
  key: TpmObject;
  /** Absent where the TPM's maker put none in. */
  certificate: Uint8Array | undefined;
}

/** `undefined` where there is no endorsement key at its usual place: then the attestation key can only be pinned by its name. */
async function readEndorsement(tpm: TpmSequence): Promise<Endorsement | undefined> {
  try {
    const key = await readPublic(tpm, EK_RSA_HANDLE);
    const certificate = await readNv(tpm, EK_RSA_CERTIFICATE_INDEX);
    return { key, certificate: certificate && withoutPadding(certificate) };
  } catch (error) {
    if (error instanceof TpmError && error.is("handle")) return undefined;
    throw error;
  }
}

/** Some TPMs have an index that is larger than the certificate in it: what comes after the outer SEQUENCE is filling. */
function withoutPadding(bytes: Buffer): Buffer {
  const isLong = bytes.length > 4 && bytes[0] === 0x30 && bytes[1] === 0x82;
  return isLong ? bytes.subarray(0, 4 + bytes.readUInt16BE(2)) : bytes;
}
