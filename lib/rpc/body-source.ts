import { constants } from "node:http2";
import type { Readable } from "node:stream";

import { ErrorReason } from "../failure.ts";
import type { Exchange } from "./exchange.ts";
import { closeAfter, type NodeResponse } from "./node-http.ts";
import { refusal } from "./wire-error.ts";

/**
 * The bytes of a request's body. A body that is not there after `timeoutMs` throws DEADLINE (`undefined`: a stream, which
 * may stay open). A reader that stops early leaves the connection intact, so that its answer still arrives.
 */
export async function* bodySource(
  exchange: Pick<Exchange, "request" | "response">,
  timeoutMs: number | undefined,
): AsyncIterable<Uint8Array> {
  // A plain `for await` would destroy the request, and an HTTP/1.1 connection with it, when it is left early.
  const request: Readable = exchange.request;
  const chunks = request.iterator({ destroyOnReturn: false });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    if (timeoutMs === undefined) return;
    timer = setTimeout(() => {
      closeAfter(exchange);
      reject(refusal(ErrorReason.DEADLINE, `The request's body did not arrive within ${timeoutMs / 1000} s.`));
    }, timeoutMs);
  });
  late.catch(ignore);
  try {
    for (;;) {
      const next = (await Promise.race([chunks.next(), late])) as IteratorResult<Uint8Array>;
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    clearTimeout(timer);
    if (!exchange.request.readableEnded) endStreamAfterAnswer(exchange.response);
    // What is left is read and dropped; Node's request timeout ends a sender that goes on and on. Not awaited: it waits for
    // a chunk that is on its way, and that may never come.
    chunks.return?.().then(() => exchange.request.resume(), ignore);
  }
}

/**
 * A server that answers before it has read all of a request tells an HTTP/2 client to stop sending (RFC 9113 section 8.1).
 * Node does so only where nothing was read at all.
 */
function endStreamAfterAnswer(response: NodeResponse): void {
  if (!("stream" in response)) return;
  const { stream } = response;
  const end = (): void => {
    if (!stream.destroyed) stream.close(constants.NGHTTP2_NO_ERROR);
  };
  // Node sends the trailers in the next turn of the event loop, and a reset must not overtake them.
  stream.once("wantTrailers", () => setImmediate(() => setImmediate(end)));
}

function ignore(): void {
  // the connection is gone, and with it the need to do anything
}
