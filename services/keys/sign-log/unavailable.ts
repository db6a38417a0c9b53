import { ErrorReason, Failure } from "@agentkeys/lib/failure";

/** What a caller is told where the log can be neither written nor read. */
export function logUnavailable(cause: unknown): Failure {
  return new Failure(
    ErrorReason.SIGN_LOG_UNAVAILABLE,
    "the record of signatures cannot be written or read, so nothing is signed: its disk may be full",
    { retryAfterMs: 5_000, cause },
  );
}
