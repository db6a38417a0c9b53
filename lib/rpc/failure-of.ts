import { Code, ConnectError } from "@connectrpc/connect";

import { ErrorReason } from "../failure.ts";

/** What a failed call says, read back from the wire. */
export interface CallFailure {
  /** `undefined` when the answer names none, or one that this program is too old to know. */
  reason: ErrorReason | undefined;
  code: Code;
  /** For a person; without Connect's `[code]` prefix. */
  message: string;
  /** From `google.rpc.RetryInfo`, or Retry-After. */
  retryAfterMs?: number;
  /** `google.rpc.ErrorInfo.metadata`. */
  metadata: Record<string, string>;
}

/** Reads what a client's call threw. An error that came from no server (no connection, an abort) has no reason. */
export function failureOf(error: unknown): CallFailure {
  const { code, rawMessage } = ConnectError.from(error);
  return { reason: undefined, code, message: rawMessage, metadata: {} };
}
