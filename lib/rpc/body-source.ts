import type { Readable } from "node:stream";

import { ErrorReason } from "../failure.ts";
import type { Exchange } from "./exchange.ts";
import { closeAfter } from "./node-http.ts";
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
  late.catch(() => undefined);
  try {
    for (;;) {
      const next = (await Promise.race([chunks.next(), late])) as IteratorResult<Uint8Array>;
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    clearTimeout(timer);
    // What is left is read and dropped; Node's request timeout ends a sender that goes on and on.
    exchange.request.resume();
  }
}
