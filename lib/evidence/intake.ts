import { AttestationError, type Evidence, type EvidenceType, mediaTypes } from "./evidence.ts";

/** How much of what a verifier takes. Whatever is larger is refused before anything reads it. */
export interface IntakeLimits {
  evidenceBytes: number;
  /** How many endorsements there have to be, exactly, and how large each may be. */
  endorsements: number;
  endorsementBytes?: number;
}

/** Checks kind, number and size of what came, before its content. @throws AttestationError NOT_ACCEPTED, MALFORMED */
export function checkIntake(
  type: EvidenceType,
  { mediaType, evidence, endorsements }: Evidence,
  { evidenceBytes, endorsements: count, endorsementBytes = 0 }: IntakeLimits,
): void {
  if (mediaType !== mediaTypes[type]) {
    throw new AttestationError("NOT_ACCEPTED", `this is no evidence of the type ${mediaTypes[type]}`);
  }
  if (evidence.length > evidenceBytes) {
    throw new AttestationError(
      "MALFORMED",
      `${type}: ${evidence.length} bytes of evidence, expected at most ${evidenceBytes}`,
    );
  }
  if (endorsements.length !== count) {
    throw new AttestationError("MALFORMED", `${type}: ${endorsements.length} endorsements, expected ${count}`);
  }
  for (const { length } of endorsements) {
    if (length > endorsementBytes) {
      throw new AttestationError(
        "MALFORMED",
        `${type}: an endorsement of ${length} bytes, expected at most ${endorsementBytes}`,
      );
    }
  }
}
