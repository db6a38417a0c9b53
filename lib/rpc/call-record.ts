import { Code, type ConnectError, createContextKey } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";

import { ErrorReason } from "../failure.ts";
import { reasonOf } from "./wire-error.ts";

/** What the access log says of one request; filled in while it is served. */
export interface CallRecord {
  /** `agentkeys.keys.v1.KeyService/SignMessage`; undefined when the request is no call of ours. */
  method?: string;
  /** connect, grpc, grpc-web; http for a route from the descriptors, page for everything else. */
  protocol: "connect" | "grpc" | "grpc-web" | "http" | "page";
  /** "ok", or Connect's name of the error code. */
  code: string;
  reason?: string;
  /** Logged at debug level only: probes would drown the rest. */
  quiet: boolean;
}

export function newCallRecord(): CallRecord {
  return { protocol: "page", code: "ok", quiet: false };
}

/** Notes how a call failed. */
export function recordError(record: CallRecord, error: ConnectError): void {
  record.code = codeToString(error.code);
  const reason = reasonOf(error);
  if (reason !== undefined) record.reason = ErrorReason[reason];
}

/** A client that went away before its answer was ready. */
export function recordCanceled(record: CallRecord): void {
  record.code = codeToString(Code.Canceled);
}

/** Where an interceptor finds the record of its call. */
export const callRecord = createContextKey<CallRecord>(newCallRecord(), {
  description: "the call's access log record",
});
