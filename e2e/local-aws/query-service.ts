import type { Clock } from "@agentkeys/lib/clock";
import { type RandomBytes, randomId } from "@agentkeys/lib/random";

import type { HttpAnswer } from "./answer.ts";
import { AwsError } from "./aws-error.ts";
import { type AdminKey, authenticate, type Caller } from "./caller.ts";
import { callIam } from "./iam/actions.ts";
import type { Registry } from "./iam/registry.ts";
import type { WireRequest } from "./sigv4.ts";
import { callSts } from "./sts/actions.ts";
import type { SessionCredentials } from "./sts/session-credentials.ts";
import { type XmlContent, xmlDocument } from "./xml.ts";

const STS_VERSION = "2011-06-15";
const IAM_VERSION = "2010-05-08";

/** Does a call of AWS's query protocol: a form in, XML out. The API's version tells STS from IAM. */
export async function callQueryService(
  request: WireRequest,
  d: {
    iam: Registry;
    admin: AdminKey;
    credentials: SessionCredentials;
    clock: Clock;
    random: RandomBytes;
    idpTimeoutMs: number;
    scripted: AwsError[];
  },
): Promise<HttpAnswer> {
  const form = new URLSearchParams(request.body.toString());
  const version = form.get("Version");
  if (version === STS_VERSION) {
    const identify = (): Promise<Caller> => authenticate(request, { ...d, service: "sts" });
    return answer("sts", STS_VERSION, form, await callSts(form, identify, d), d.random);
  }
  if (version === IAM_VERSION) {
    const caller = await authenticate(request, { ...d, service: "iam" });
    if (caller.kind !== "admin") throw new AwsError("AccessDenied", 403, "Access Denied");
    return answer("iam", IAM_VERSION, form, callIam(form, d.iam, d.random), d.random);
  }
  throw new AwsError("InvalidAction", 400, `Could not find version ${String(version)} of an API`);
}

/** The error document of the query protocol. */
export function queryErrorDocument(e: { code: string; status: number; message: string }, requestId: string): string {
  const error = { Type: e.status < 500 ? "Sender" : "Receiver", Code: e.code, Message: e.message };
  return xmlDocument("ErrorResponse", { Error: error, RequestId: requestId }, namespaceOf("sts", STS_VERSION));
}

function answer(
  service: string,
  version: string,
  form: URLSearchParams,
  result: XmlContent,
  random: RandomBytes,
): HttpAnswer {
  const action = String(form.get("Action"));
  const content = { [`${action}Result`]: result, ResponseMetadata: { RequestId: randomId(random) } };
  const body = xmlDocument(`${action}Response`, content, namespaceOf(service, version));
  return { status: 200, headers: { "content-type": "text/xml" }, body };
}

function namespaceOf(service: string, version: string): string {
  return `https://${service}.amazonaws.com/doc/${version}/`;
}
