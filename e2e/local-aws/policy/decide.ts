import { conditionsHold } from "./conditions.ts";
import type { Statement } from "./document.ts";
import { fitsPattern, type RequestContext } from "./pattern.ts";

/** What somebody wants to do. */
export interface AccessRequest {
  action: string;
  /** An ARN; absent when a trust policy is asked. */
  resource?: string;
  /** The ARN of the provider whose token is presented; absent when a permissions policy is asked. */
  federated?: string;
  context: RequestContext;
}

/** IAM's rule: one statement that denies is final, one that allows is enough, nothing said means no. */
export function isAllowed(statements: readonly Statement[], request: AccessRequest): boolean {
  const applying = statements.filter((statement) => applies(statement, request));
  return applying.length > 0 && applying.every((statement) => statement.effect === "Allow");
}

function applies(statement: Statement, { action, resource, federated, context }: AccessRequest): boolean {
  return (
    statement.actions.some((pattern) => fitsPattern(pattern.toLowerCase(), action.toLowerCase(), context) === true) &&
    (resource === undefined ||
      statement.resources.some((pattern) => fitsPattern(pattern, resource, context) === true)) &&
    (federated === undefined || statement.federated.includes(federated)) &&
    conditionsHold(statement.conditions, context) === true
  );
}
