import { ErrorReason } from "@agentkeys/gen/agentkeys/errors/v1/error_reason_pb";

/** What a `Failure` may say beside its reason and message. */
export interface FailureDetails {
  /** After how many milliseconds the same call may succeed: `google.rpc.RetryInfo` and Retry-After. */
  retryAfterMs?: number;
  /** `google.rpc.ErrorInfo.metadata`: facts that a program may want, never a secret. */
  metadata?: Record<string, string>;
  /** What led to it: logged, never sent. */
  cause?: unknown;
}

/**
 * The one error that a domain function throws for what a caller can meet: the reason is decided here, where the rule is;
 * `lib/rpc` alone turns it into a Connect code and an HTTP status. The message is for a person who knows nothing of our
 * code: what was wrong with which value, and what to do; no secret, no parser's text.
 */
export class Failure extends Error {
  override readonly name = "Failure";

  constructor(
    readonly reason: ErrorReason,
    message: string,
    readonly details: FailureDetails = {},
  ) {
    super(message, { cause: details.cause });
  }
}

export { ErrorReason };
