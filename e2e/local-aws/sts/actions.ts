import type { Clock } from "@agentkeys/lib/clock";

import { AwsError } from "../aws-error.ts";
import type { Caller } from "../caller.ts";
import type { Registry } from "../iam/registry.ts";
import type { XmlContent } from "../xml.ts";
import { assumeRoleWithWebIdentity } from "./assume-role.ts";
import type { SessionCredentials } from "./session-credentials.ts";

/** Does one STS call; gives the content of its `…Result` element. `identify` checks the signature of a call that needs one. */
export async function callSts(
  form: URLSearchParams,
  identify: () => Promise<Caller>,
  d: { iam: Registry; credentials: SessionCredentials; clock: Clock; idpTimeoutMs: number; scripted: AwsError[] },
): Promise<XmlContent> {
  const action = String(form.get("Action"));
  if (action === "GetCallerIdentity") return callerIdentity(await identify(), d.iam.accountId);
  if (action !== "AssumeRoleWithWebIdentity") {
    throw new AwsError("InvalidAction", 400, `This stand-in has no operation ${action}.`);
  }
  const error = d.scripted.shift();
  if (error !== undefined) throw error;
  return assumeRoleWithWebIdentity(form, d);
}

function callerIdentity(caller: Caller, accountId: string): XmlContent {
  return caller.kind === "admin"
    ? { Arn: `arn:aws:iam::${accountId}:user/admin`, UserId: "admin", Account: accountId }
    : { Arn: caller.session.arn, UserId: caller.session.userId, Account: accountId };
}
