import { ErrorInfoSchema, RetryInfoSchema } from "@agentkeys/gen/google/rpc/error_details_pb";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { ErrorReason } from "../failure.ts";
import { ERROR_DOMAIN } from "./wire-error.ts";

/** What a failed call says, read back from the wire. */
export interface CallFailure {
  /** `undefined` when the answer names none, or one that this program is too old to know. */
  reason: ErrorReason | undefined;
  code: Code;
  /** For a person; without Connect's `[code]` prefix. */
  message: string;
  /** From `google.rpc.RetryInfo`, else from a Retry-After in seconds. */
  retryAfterMs?: number;
  /** `google.rpc.ErrorInfo.metadata`. */
  metadata: Record<string, string>;
}

/** Reads what a client's call threw. An error that no server answered (no connection, an abort) has no reason. */
export function failureOf(error: unknown): CallFailure {
  const connectError = ConnectError.from(error);
  const info = connectError.findDetails(ErrorInfoSchema).find(({ domain }) => domain === ERROR_DOMAIN);
  const retryAfterMs = retryAfter(connectError);
  return {
    reason: info === undefined ? undefined : reasonNamed(info.reason),
    code: connectError.code,
    message: connectError.rawMessage,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    metadata: info?.metadata ?? {},
  };
}

function reasonNamed(name: string): ErrorReason | undefined {
  const value = (ErrorReason as Record<string, ErrorReason | string>)[name];
  return typeof value === "number" ? value : undefined;
}

function retryAfter(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  if (delay !== undefined) return durationMs(delay);
  const seconds = error.metadata.get("retry-after") ?? "";
  return /^\d{1,9}$/.test(seconds) ? Number(seconds) * 1000 : undefined;
}
