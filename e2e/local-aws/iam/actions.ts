import type { RandomBytes } from "@agentkeys/lib/random";

import { AwsError } from "../aws-error.ts";
import { randomName } from "../names.ts";
import { parsePolicy } from "../policy/document.ts";
import type { XmlContent } from "../xml.ts";
import type { Registry } from "./registry.ts";

/** Does one IAM call of the account's administrator; gives the content of its `…Result` element. */
export function callIam(form: URLSearchParams, iam: Registry, random: RandomBytes): XmlContent {
  switch (form.get("Action")) {
    case "CreateOpenIDConnectProvider":
      return createProvider(form, iam);
    case "CreateRole":
      return createRole(form, iam, random);
    case "PutRolePolicy":
      return putRolePolicy(form, iam);
    default:
      throw new AwsError("InvalidAction", 400, `This stand-in has no operation ${String(form.get("Action"))}.`);
  }
}

/** AWS takes https issuers without a port only; a stand-in on loopback has to take http and ports. */
function createProvider(form: URLSearchParams, iam: Registry): XmlContent {
  const url = form.get("Url") ?? "";
  if (!URL.canParse(url) || !/^https?:\/\//.test(url) || url.length > 255 || /[?#]/.test(url)) {
    throw new AwsError("ValidationError", 400, "Invalid Open ID Connect Provider URL");
  }
  const provider = iam.addProvider({ url, clientIds: listed(form, "ClientIDList") });
  return { OpenIDConnectProviderArn: provider.arn };
}

function createRole(form: URLSearchParams, iam: Registry, random: RandomBytes): XmlContent {
  const name = matching(form, "RoleName", /^[\w+=,.@-]{1,64}$/);
  const maxSessionDuration = Number(form.get("MaxSessionDuration") ?? 3600);
  if (!Number.isInteger(maxSessionDuration) || maxSessionDuration < 3600 || maxSessionDuration > 43_200) {
    throw new AwsError("ValidationError", 400, "MaxSessionDuration must be from 3600 to 43200 seconds");
  }
  const document = form.get("AssumeRolePolicyDocument") ?? "";
  const role = iam.addRole({
    name,
    id: randomName("AROA", random),
    maxSessionDuration,
    trust: parsePolicy(document, "trust"),
  });
  return {
    Role: {
      Path: "/",
      RoleName: role.name,
      RoleId: role.id,
      Arn: role.arn,
      CreateDate: new Date(0).toISOString(),
      AssumeRolePolicyDocument: encodeURIComponent(document),
    },
  };
}

function putRolePolicy(form: URLSearchParams, iam: Registry): XmlContent {
  const name = matching(form, "RoleName", /^[\w+=,.@-]{1,64}$/);
  const role = iam.findRole({ name });
  if (role === undefined) throw new AwsError("NoSuchEntity", 404, `The role with name ${name} cannot be found.`);
  const policyName = matching(form, "PolicyName", /^[\w+=,.@-]{1,128}$/);
  role.policies.set(policyName, parsePolicy(form.get("PolicyDocument") ?? "", "permissions"));
  return {};
}

function matching(form: URLSearchParams, parameter: string, pattern: RegExp): string {
  const value = form.get(parameter) ?? "";
  if (!pattern.test(value)) throw new AwsError("ValidationError", 400, `${parameter} is missing or not valid`);
  return value;
}

/** AWS's query protocol numbers the members of a list from 1. */
function listed(form: URLSearchParams, parameter: string): string[] {
  const values: string[] = [];
  for (let i = 1; ; i++) {
    const value = form.get(`${parameter}.member.${i}`);
    if (value === null) return values;
    values.push(value);
  }
}
