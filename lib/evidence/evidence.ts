/**
 * Remote attestation in the terms of RFC 9334: an attester (the TEE worker) gives evidence, a verifier (the daemon) appraises it
 * against reference values that the relying party has pinned.
 */

/** The technologies that evidence comes from. The name says what is protected: see SECURITY.md. */
export const mediaTypes = {
  tpm2: "application/vnd.agentkeys.evidence.tpm2+json",
  "aws-nitro": "application/vnd.agentkeys.evidence.aws-nitro+cose",
  "sev-snp": "application/vnd.agentkeys.evidence.sev-snp",
  tdx: "application/vnd.agentkeys.evidence.tdx",
  "azure-cvm": "application/vnd.agentkeys.evidence.azure-cvm+json",
  soft: "application/vnd.agentkeys.evidence.soft+json",
} as const;

export type EvidenceType = keyof typeof mediaTypes;

/** What an attester gives: the evidence itself, and the certificates and collateral that its appraisal needs (endorsements). */
export interface Evidence {
  mediaType: string;
  evidence: Uint8Array;
  endorsements: readonly Uint8Array[];
}

/** What the verifier asked for, and when. Nothing here is optional: a check cannot be left out by leaving out a value. */
export interface Expected {
  /** The caller's own random bytes, 16 to 64. */
  nonce: Uint8Array;
  /** 32 bytes: the digest of the claims that the evidence has to cover. */
  reportData: Uint8Array;
  /** When the evidence is appraised; certificates and collateral have to be valid then. */
  at: Date;
}

/** A list that names something: an empty list of pins would let anything pass. */
export type NonEmpty<T> = readonly [T, ...T[]];

/** What was found true. There is no value of this type for evidence that failed a check. */
export interface Verified {
  type: EvidenceType;
  /** Which code: the measurements that were compared, by their name (`pcr11`, `measurement`, `mrtd`), in lower-case hex. */
  measurements: Readonly<Record<string, string>>;
  /** Which machine or owner: what tells this one from another that runs the same code (AK name, chip id, PCR 3 …), in lower-case hex. */
  identity: Readonly<Record<string, string>>;
  /** When the evidence says that it was made; absent where the technology has no clock that can be believed. */
  madeAt?: Date;
  /** What is true and worth a person's eye, for example an advisory that the policy accepts by its name. */
  warnings: readonly string[];
}

/** Why evidence was refused. Programs match on it; the message says what was expected and what was found. */
export type AttestationErrorCode =
  /** It cannot be read: truncated, trailing bytes, wrong lengths, an encoding that is not the canonical one. */
  | "MALFORMED"
  /** A version, algorithm or critical extension that this verifier does not know. */
  | "UNSUPPORTED"
  /** A signature does not verify. */
  | "SIGNATURE"
  /** The certificates do not lead to a pinned root. */
  | "ROOT"
  /** A certificate or collateral is outside its validity, or evidence is older than allowed. */
  | "STALE"
  /** A certificate or key was revoked. */
  | "REVOKED"
  /** It answers another nonce. */
  | "NONCE"
  /** It covers other claims than those sent along. */
  | "REPORT_DATA"
  /** The code measured is none of the pinned ones. */
  | "MEASUREMENT"
  /** It comes from another machine, key or account than the pinned ones. */
  | "IDENTITY"
  /** A debug guest or an unlocked platform: its memory can be read. */
  | "DEBUG"
  /** The platform's firmware is older than the policy's minimum, or its TCB status is not accepted. */
  | "TCB"
  /** The policy has no entry for this kind of evidence. */
  | "NOT_ACCEPTED";

/** The one error that every verifier throws. Its message names the check, what was expected and what was found. */
export class AttestationError extends Error {
  override readonly name = "AttestationError";

  constructor(
    readonly code: AttestationErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Appraises one kind of evidence. `P` is what the relying party has pinned. @throws AttestationError */
export interface EvidenceVerifier<P> {
  readonly type: EvidenceType;
  verify(evidence: Evidence, expected: Expected, pins: P): Verified;
}
