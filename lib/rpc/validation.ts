import { type DescField, type DescMessage, getOption, type Message } from "@bufbuild/protobuf";
import { createValidator, type Violation, violationsToProto } from "@bufbuild/protovalidate";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { reason as reasonOption } from "@agentkeys/gen/agentkeys/errors/v1/error_reason_pb";
import type { Interceptor } from "@connectrpc/connect";

import { ErrorReason, Failure } from "../failure.ts";
import { matchesPattern } from "./pattern.ts";
import { wireError } from "./wire-error.ts";

/**
 * Checks every request message against the `buf.validate` rules of its proto. A message that breaks one is answered
 * `invalid_argument` with `buf.validate.Violations`; the reason is the one that the first violated field declares
 * (`agentkeys.errors.v1.reason`), else INVALID_REQUEST.
 */
export function validateRequests(): Interceptor {
  const validator = createValidator({ regexMatch: matchesPattern });
  const check = (schema: DescMessage, message: Message): void => {
    const result = validator.validate(schema, message);
    if (result.kind === "error") throw result.error;
    if (result.kind === "invalid") throw violationError(result.violations);
  };
  return (next) => async (request) => {
    if (!request.stream) check(request.method.input, request.message);
    else return await next({ ...request, message: checkedStream(request.message, request.method.input, check) });
    return await next(request);
  };
}

async function* checkedStream(
  messages: AsyncIterable<Message>,
  schema: DescMessage,
  check: (schema: DescMessage, message: Message) => void,
): AsyncIterable<Message> {
  for await (const message of messages) {
    check(schema, message);
    yield message;
  }
}

function violationError(violations: Violation[]) {
  const message = violations.map((violation) => `${pathToString(violation.field)}: ${violation.message}`).join("; ");
  const [value, desc] = violationsToProto(violations);
  const reasons = violations.map(reasonOfViolation);
  const reason = reasons.find((candidate) => candidate !== ErrorReason.INVALID_REQUEST) ?? ErrorReason.INVALID_REQUEST;
  return wireError(new Failure(reason, message), [{ desc, value }]);
}

function reasonOfViolation({ field: path }: Violation): ErrorReason {
  const field = path.findLast((part): part is DescField => part.kind === "field");
  const reason = field === undefined ? ErrorReason.UNSPECIFIED : getOption(field, reasonOption);
  return reason === ErrorReason.UNSPECIFIED ? ErrorReason.INVALID_REQUEST : reason;
}
