import type { ConnectError } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJson } from "@connectrpc/connect/protocol-connect";

import { ErrorReason } from "../failure.ts";
import { recordError } from "./call-record.ts";
import type { Exchange } from "./exchange.ts";
import type { NodeResponse } from "./node-http.ts";
import { refusal } from "./wire-error.ts";

/** Ends a response with a JSON body. Node leaves the body out where the request was a HEAD. */
export function answerJson(response: NodeResponse, status: number, body: unknown): void {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(body));
}

/** Ends a response with an error in Connect's shape, with the HTTP status of the error's code unless another is given. */
export function answerError(exchange: Exchange, error: ConnectError, status = codeToHttpStatus(error.code)): void {
  recordError(exchange.record, error);
  exchange.response.setHeader("cache-control", "no-store");
  for (const [name, value] of error.metadata) exchange.response.setHeader(name, value);
  answerJson(exchange.response, status, errorToJson(error, undefined));
}

/** A request that HTTP itself has a status for: answered with it, and INVALID_REQUEST in Connect's shape. */
export class HttpRefusal extends Error {
  override readonly name = "HttpRefusal";

  constructor(
    readonly status: 405 | 415 | 505,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }

  answer(exchange: Exchange): void {
    for (const [name, value] of Object.entries(this.headers)) exchange.response.setHeader(name, value);
    answerError(exchange, refusal(ErrorReason.INVALID_REQUEST, this.message), this.status);
  }
}

/** RFC 9110 section 15.5.6. */
export function methodNotAllowed(allowed: readonly string[]): HttpRefusal {
  return new HttpRefusal(405, `Only ${allowed.join(" and ")} can be sent to this path.`, { allow: allowed.join(", ") });
}
