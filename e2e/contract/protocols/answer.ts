import type { Message } from "@bufbuild/protobuf";
import { ErrorInfoSchema } from "@agentkeys/gen/google/rpc/error_details_pb";
import { type Violation, ViolationsSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import type { ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";

/** What a call was answered, the same for every protocol. */
export type Answer = Success | Refusal;

export interface Success {
  code: "ok";
  response: Message;
}

export interface Refusal {
  /** Connect's name of the code: `invalid_argument`. */
  code: string;
  message: string;
  /** `google.rpc.ErrorInfo`; undefined where the answer has none. */
  reason: string | undefined;
  domain: string | undefined;
  /** `buf.validate.Violations`: the field's path and the rule's id of each. */
  violations: string[];
}

export function isSuccess(answer: Answer): answer is Success {
  return answer.code === "ok";
}

/** Reads an error that a client library of Connect's threw. */
export function refusalOf(error: ConnectError): Refusal {
  const [info] = error.findDetails(ErrorInfoSchema);
  const violations = error.findDetails(ViolationsSchema).flatMap((detail) => detail.violations);
  return {
    code: codeToString(error.code),
    message: error.rawMessage,
    reason: info?.reason,
    domain: info?.domain,
    violations: violations.map((violation) => `${fieldPath(violation)} ${violation.ruleId}`),
  };
}

function fieldPath({ field }: Violation): string {
  const parts = (field?.elements ?? []).map(({ fieldName, subscript }) => {
    if (subscript.case === undefined) return fieldName;
    return `${fieldName}[${subscript.case === "stringKey" ? JSON.stringify(subscript.value) : subscript.value}]`;
  });
  return parts.join(".");
}
