/**
 * Remote attestation, the relying party's side: `appraise` takes evidence, what was asked for and what is pinned, and gives
 * a `Verified` or throws an `AttestationError`. Nothing here opens a connection, reads a file or asks for the time.
 */
import { azureVerifier, type AzurePins } from "./azure-cvm/verify.ts";
import {
  AttestationError,
  type Evidence,
  type EvidenceType,
  type EvidenceVerifier,
  type Expected,
  mediaTypes,
  type NonEmpty,
  type Verified,
} from "./evidence.ts";
import { type NitroPins, nitroVerifier } from "./nitro.ts";
import { type SnpPins, snpVerifier } from "./sev-snp/verify.ts";
import { type SoftPins, softVerifier } from "./soft.ts";
import { type TdxPins, tdxVerifier } from "./tdx/verify.ts";
import { type Tpm2Pins, tpm2Verifier } from "./tpm2.ts";

/** What is pinned of each kind of platform. */
export interface PinsOf {
  tpm2: Tpm2Pins;
  "aws-nitro": NitroPins;
  "sev-snp": SnpPins;
  tdx: TdxPins;
  "azure-cvm": AzurePins;
  soft: SoftPins;
}

/** One kind of platform that a relying party accepts, and what it pins of it. */
export type Platform = { [Type in EvidenceType]: { type: Type; pins: PinsOf[Type] } }[EvidenceType];

const verifiers: { readonly [Type in EvidenceType]: EvidenceVerifier<PinsOf[Type]> } = {
  tpm2: tpm2Verifier,
  "aws-nitro": nitroVerifier,
  "sev-snp": snpVerifier,
  tdx: tdxVerifier,
  "azure-cvm": azureVerifier,
  soft: softVerifier,
};

/**
 * Appraises evidence by the platforms of its kind that are accepted: one of them has to be met in full. What kind it is the
 * media type says, and nothing else is tried.
 * @throws AttestationError NOT_ACCEPTED for a kind that is not listed, and what the verifier says of one that is
 */
export function appraise(evidence: Evidence, expected: Expected, platforms: NonEmpty<Platform>): Verified {
  checkExpected(expected);
  const refusals: AttestationError[] = [];
  for (const platform of platforms) {
    if (mediaTypes[platform.type] !== evidence.mediaType) continue;
    try {
      return verifyBy(platform, evidence, expected);
    } catch (error) {
      if (!(error instanceof AttestationError)) throw error;
      refusals.push(error);
    }
  }
  throw refusalOf(refusals, platforms);
}

/** Their types say that both are one platform's; TypeScript cannot follow it through the index. */
function verifyBy<Type extends EvidenceType>(
  { type, pins }: { type: Type; pins: PinsOf[Type] },
  evidence: Evidence,
  expected: Expected,
): Verified {
  return verifiers[type].verify(evidence, expected, pins);
}

function refusalOf(refusals: readonly AttestationError[], platforms: NonEmpty<Platform>): AttestationError {
  const [first, ...more] = refusals;
  if (first === undefined) {
    const accepted = [...new Set(platforms.map(({ type }) => type))].join(", ");
    return new AttestationError("NOT_ACCEPTED", `this kind of evidence is not accepted; the policy lists ${accepted}`);
  }
  if (more.length === 0) return first;
  const messages = refusals.map(({ message }, index) => `(${index + 1}) ${message}`);
  return new AttestationError(first.code, `none of ${refusals.length} platforms is met: ${messages.join("; ")}`);
}

/** A caller that asks for too little would be told that it got it. */
function checkExpected({ nonce, reportData, at }: Expected): void {
  if (nonce.length < 16 || nonce.length > 64) throw new TypeError("a nonce has 16 to 64 bytes");
  if (reportData.length !== 32) throw new TypeError("report data is the 32 bytes of a digest");
  if (Number.isNaN(at.getTime())) throw new TypeError("the time of the appraisal is none");
}

export { type AzurePins, type AzureSilicon } from "./azure-cvm/verify.ts";
export * from "./evidence.ts";
export { AWS_NITRO_ROOT, type NitroPins, type PcrName } from "./nitro.ts";
export { type AgeLimits, type Pin } from "./pins.ts";
export { type SnpPermission } from "./sev-snp/guest-policy.ts";
export { type SnpPlatformTrait } from "./sev-snp/platform-info.ts";
export { type SnpRevocation } from "./sev-snp/revocation.ts";
export { type SnpTcb } from "./sev-snp/tcb.ts";
export { AMD_ROOTS, knownBroken, type SnpIdentity, type SnpPins, type SnpPlatformPins } from "./sev-snp/verify.ts";
export { type SoftPins } from "./soft.ts";
export { type AcceptableTcbStatus } from "./tdx/tcb-status.ts";
export { INTEL_ROOT, type RtmrName, type TdxIdentity, type TdxPins, type TdxPlatformPins } from "./tdx/verify.ts";
export { ActivatedKey, beginActivation, type Tpm2Identity, type Tpm2Pins } from "./tpm2.ts";
