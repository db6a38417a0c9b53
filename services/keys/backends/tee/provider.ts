/**
 * The attester's side of `lib/evidence`: a provider asks the hardware for evidence over 32 bytes of report data. There is one
 * file per kind beside this one; which of them a worker uses is a setting.
 */
import type { Evidence } from "@agentkeys/lib/evidence/evidence";
import type { CredentialChallenge } from "@agentkeys/lib/tpm2/credential";

export interface EvidenceProvider {
  /** One of `mediaTypes` in lib/evidence/evidence.ts. */
  readonly mediaType: string;
  /** Evidence that covers `reportData` (32 bytes). `nonce` goes along where the technology has a place of its own for it. */
  evidence(reportData: Uint8Array, nonce: Uint8Array): Promise<Evidence>;
  /**
   * Answers a credential challenge (TPM2_ActivateCredential): proves that the attestation key lives beside the endorsement key
   * that the challenge was made for. Absent where the technology has no such thing.
   */
  activate?(challenge: CredentialChallenge): Promise<Uint8Array>;
}

export type { CredentialChallenge };
