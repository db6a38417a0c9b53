import { Code, ConnectError, createContextKey, type Interceptor } from "@connectrpc/connect";

import { ErrorReason, Failure } from "../failure.ts";
import type { Logger } from "../log.ts";
import { type CallRecord, callRecord, recordCanceled, recordError } from "./call-record.ts";
import { loggableError } from "./loggable-error.ts";
import { requestInfo } from "./request-info.ts";
import { isWireError, refusal, wireError } from "./wire-error.ts";

/** Aborts when the server begins to stop: a handler that waits for something, such as a long poll, had better answer then. */
export const stopping = createContextKey<AbortSignal>(new AbortController().signal, {
  description: "the server stops",
});

/**
 * The outermost interceptor: turns whatever the inner ones and the handler throw into an error that may be sent, answers at
 * the deadline even if the handler goes on, and tells the access log how the call ended.
 */
export function guardCalls(log: Logger): Interceptor {
  return (next) => async (request) => {
    const { contextValues, signal } = request;
    const record = contextValues.get(callRecord);
    const outcome = (error: unknown): ConnectError => {
      const { requestId } = contextValues.get(requestInfo);
      return sendable(error, { signal, record, requestId, log });
    };
    try {
      const response = await beforeAbort(next(request), signal);
      if (!response.stream) return response;
      return { ...response, message: guardStream(response.message, signal, outcome) };
    } catch (error) {
      throw outcome(error);
    }
  };
}

async function* guardStream<T>(
  messages: AsyncIterable<T>,
  signal: AbortSignal,
  outcome: (error: unknown) => ConnectError,
): AsyncIterable<T> {
  const iterator = messages[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await beforeAbort(iterator.next(), signal);
      if (next.done === true) return;
      yield next.value;
    }
  } catch (error) {
    throw outcome(error);
  } finally {
    // Not awaited: a handler that waits for something else must not hold up the end of the call.
    iterator.return?.().catch(() => undefined);
  }
}

/** What `work` gives, unless the call is aborted first. */
function beforeAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function sendable(
  error: unknown,
  call: { signal: AbortSignal; record: CallRecord; requestId: string; log: Logger },
): ConnectError {
  const { signal, record, requestId, log } = call;
  const isAbort = signal.aborted && !isWireError(error) && !(error instanceof Failure);
  const cause: unknown = isAbort ? signal.reason : error;
  if (isAbort && !isWireError(cause) && ConnectError.from(cause).code !== Code.DeadlineExceeded) {
    recordCanceled(record);
    return new ConnectError("The caller went away.", Code.Canceled);
  }
  const answer = isWireError(cause)
    ? cause
    : cause instanceof Failure
      ? wireError(cause)
      : isAbort
        ? refusal(ErrorReason.DEADLINE, "The call took longer than its deadline.")
        : refusal(ErrorReason.INTERNAL, `The server failed; its log says why, under request id ${requestId}.`);
  recordError(record, answer);
  if (answer.code === Code.Internal) {
    log.error(
      { request_id: requestId, method: record.method, error: loggableError(cause) },
      "call failed unexpectedly",
    );
  } else if (answer.cause !== undefined) {
    log.warn({ request_id: requestId, method: record.method, error: loggableError(answer.cause) }, "call failed");
  }
  return answer;
}
