import type { DescMethodUnary } from "@bufbuild/protobuf";
import { ErrorReason } from "@agentkeys/gen/agentkeys/errors/v1/error_reason_pb";

import type { BrokenMessage, ValidMessage } from "./generator/messages.ts";
import { type Answer, isSuccess, type Refusal } from "./protocols/answer.ts";
import { shapeOf } from "./shape.ts";

/** What is wrong with one answer; nothing when all is well. */
export type Problem = string;

/** A valid message from somebody who may call may be refused for many reasons, but neither as invalid nor for its caller. */
export function problemsWithValid(answer: Answer): Problem[] {
  if (isSuccess(answer)) return [];
  const wrong =
    ["invalid_argument", "unauthenticated"].includes(answer.code) ||
    ["SESSION_KIND", "WRONG_ACCOUNT"].includes(answer.reason ?? "");
  return [...problemsWithRefusal(answer), ...(wrong ? [`refused as ${say(answer)}`] : [])];
}

/** A broken message must be refused as invalid, with the reason that the field declares, and its name. */
export function problemsWithBroken(answer: Answer, { field, rule, reason }: BrokenMessage): Problem[] {
  if (isSuccess(answer)) return [`accepted, though it breaks ${rule}`];
  const named = answer.violations.some((violation) => violation.startsWith(`${field} `));
  return [
    ...problemsWithRefusal(answer),
    ...(answer.code === "invalid_argument" ? [] : [`not invalid_argument but ${say(answer)}`]),
    ...(answer.reason === ErrorReason[reason]
      ? []
      : [`reason ${answer.reason ?? "none"} instead of ${ErrorReason[reason]}`]),
    ...(answer.message.includes(field) ? [] : [`the message does not name the field ${field}: "${answer.message}"`]),
    ...(named ? [] : [`no buf.validate.Violation names ${field}: ${answer.violations.join(", ") || "none at all"}`]),
  ];
}

/** What cannot be read must be refused as such, in words of our own, that name the field where there is one. */
export function problemsWithMalformed(answer: Answer, { field = "" }: { field?: string }): Problem[] {
  if (isSuccess(answer)) return ["accepted, though it cannot be read"];
  const right = answer.code === "invalid_argument" && answer.reason === "INVALID_REQUEST";
  return [
    ...problemsWithRefusal(answer),
    ...(right ? [] : [`${say(answer)} instead of invalid_argument INVALID_REQUEST`]),
    ...(answer.message.includes(field) ? [] : [`the message does not name the field ${field}: "${answer.message}"`]),
    ...(parsersText.test(answer.message) ? [`the message has a parser's text: "${answer.message}"`] : []),
  ];
}

const parsersText = /unexpected|position \d|JSON\.parse|SyntaxError|cannot decode|RangeError|premature|wire ?type/i;

/** A call without, or with the wrong, session. */
export function problemsWithStranger(answer: Answer, expected: { code: string; reason: ErrorReason }): Problem[] {
  const reason = ErrorReason[expected.reason];
  if (isSuccess(answer)) return [`answered, instead of ${expected.code} ${reason}`];
  const right = answer.code === expected.code && answer.reason === reason;
  return [...problemsWithRefusal(answer), ...(right ? [] : [`${say(answer)} instead of ${expected.code} ${reason}`])];
}

/** Two protocols must answer the same message the same. */
export function disagreements(rpc: DescMethodUnary, answer: Answer, reference: Answer): Problem[] {
  const [here, there] = [essence(rpc, answer), essence(rpc, reference)];
  return here === there ? [] : [`answers ${here}, where the reference answers ${there}`];
}

/** Prefixes each problem with what was sent. */
export function about({ title }: Pick<ValidMessage, "title">, problems: readonly Problem[]): Problem[] {
  return problems.map((problem) => `${title}: ${problem}`);
}

/** Every refusal names a reason of ours, one that the proto lists. */
function problemsWithRefusal({ reason, domain, code, message }: Refusal): Problem[] {
  const known = reason !== undefined && reason !== "UNSPECIFIED" && reason in ErrorReason;
  return [
    ...(known ? [] : [`${code} "${message}" has the reason ${reason ?? "(none)"}, which ErrorReason does not list`]),
    ...(domain === "agentkeys" ? [] : [`${code} has the domain ${domain ?? "(none)"}`]),
    ...(["internal", "unknown", "data_loss"].includes(code) ? [`a fault of the server's: ${code} "${message}"`] : []),
    ...(message === "" ? [`${code} has no message`] : []),
  ];
}

function essence(rpc: DescMethodUnary, answer: Answer): string {
  if (isSuccess(answer)) return `ok ${shapeOf(rpc.output, answer.response).join(", ")}`;
  return `${say(answer)}${answer.violations.length > 0 ? ` [${answer.violations.join("; ")}]` : ""}`;
}

function say({ code, reason, message }: Refusal): string {
  return `${code} ${reason ?? "(no reason)"} "${message}"`;
}
