import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ErrorInfoSchema, RetryInfoSchema } from "@agentkeys/gen/google/rpc/error_details_pb";
import { Code, ConnectError } from "@connectrpc/connect";

import { ErrorReason, Failure } from "../failure.ts";
import { codeOf } from "./reason-codes.ts";

/** `google.rpc.ErrorInfo.domain` of every error that a server of ours decides. */
export const ERROR_DOMAIN = "agentkeys";

interface Detail {
  desc: DescMessage;
  value: MessageInitShape<DescMessage>;
}

/**
 * A `Failure` as it goes over the wire: its reason's code, its message, `google.rpc.ErrorInfo`, and where it names a time,
 * `google.rpc.RetryInfo` and Retry-After (RFC 9110 section 10.2.3). `further` details come after these.
 */
export function wireError(
  failure: Failure,
  further: readonly Detail[] = [],
  code = codeOf(failure.reason),
): ConnectError {
  const { retryAfterMs, metadata, cause } = failure.details;
  const details: Detail[] = [
    {
      desc: ErrorInfoSchema,
      value: create(ErrorInfoSchema, {
        reason: ErrorReason[failure.reason],
        domain: ERROR_DOMAIN,
        metadata: metadata ?? {},
      }),
    },
  ];
  const headers = new Headers();
  if (retryAfterMs !== undefined) {
    details.push({
      desc: RetryInfoSchema,
      value: create(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) }),
    });
    headers.set("retry-after", String(Math.max(1, Math.ceil(retryAfterMs / 1000))));
  }
  // A lone surrogate cannot be percent-encoded for grpc-message and would turn the answer into an exception.
  const message = Buffer.from(failure.message, "utf8").toString("utf8");
  const error = new ConnectError(message, code, headers, [...details, ...further], cause);
  reasons.set(error, failure.reason);
  return error;
}

/** Makes the wire error of a reason in one step. */
export function refusal(reason: ErrorReason, message: string): ConnectError {
  return wireError(new Failure(reason, message));
}

/** Nothing is there: HTTP's 404, and so `not_found`, unlike an RPC that is not served. */
export function nothingAt(path: string): ConnectError {
  const failure = new Failure(ErrorReason.NOT_SERVED, `Nothing is served at ${path.slice(0, 200)}.`);
  return wireError(failure, [], Code.NotFound);
}

/** An answer that gRPC's own services define with a code alone, such as `not_found` of grpc.health.v1. */
export function codeOnly(code: Code, message: string): ConnectError {
  const error = new ConnectError(message, code);
  reasons.set(error, undefined);
  return error;
}

/** Whether the error was made here, and so may be sent as it is. */
export function isWireError(error: unknown): error is ConnectError {
  return error instanceof ConnectError && reasons.has(error);
}

/** The reason that a wire error was made for. */
export function reasonOf(error: ConnectError): ErrorReason | undefined {
  return reasons.get(error);
}

const reasons = new WeakMap<ConnectError, ErrorReason | undefined>();
