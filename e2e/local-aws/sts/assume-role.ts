import type { Clock } from "@agentkeys/lib/clock";

import { AwsError } from "../aws-error.ts";
import type { Registry, Role } from "../iam/registry.ts";
import { isAllowed } from "../policy/decide.ts";
import type { XmlContent } from "../xml.ts";
import { type IdToken, verifyIdToken } from "./id-token.ts";
import { type AssumeRoleParameters, parseParameters } from "./parameters.ts";
import type { SessionCredentials } from "./session-credentials.ts";
import { parseSessionTags, type SessionTags } from "./session-tags.ts";

const DEFAULT_DURATION_SECONDS = 3600;
/** AWS does not tell how large its packed form may be; this many plain characters are 100 per cent here. */
const PACKED_LIMIT = 4096;

/** STS AssumeRoleWithWebIdentity: the parameters, then the token, then the role's trust policy, then credentials. */
export async function assumeRoleWithWebIdentity(
  form: URLSearchParams,
  d: { iam: Registry; credentials: SessionCredentials; clock: Clock; idpTimeoutMs: number },
): Promise<XmlContent> {
  const parameters = parseParameters(form);
  const idToken = await verifyIdToken(parameters.webIdentityToken, d);
  const tags = parseSessionTags(idToken.claims);
  const packedPolicySize = packedSize(tags, parameters);
  const role = trustingRole(d.iam, parameters, idToken, tags);
  const duration = parameters.durationSeconds ?? DEFAULT_DURATION_SECONDS;
  if (duration > role.maxSessionDuration) {
    throw new AwsError(
      "ValidationError",
      400,
      "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    );
  }

  const arn = `arn:aws:sts::${d.iam.accountId}:assumed-role/${role.name}/${parameters.roleSessionName}`;
  const userId = `${role.id}:${parameters.roleSessionName}`;
  const policy = parameters.sessionPolicy === undefined ? {} : { policy: parameters.sessionPolicy.text };
  const session = { roleArn: role.arn, arn, userId, tags: Object.fromEntries(tags.tags), ...policy };
  const credentials = await d.credentials.issue(session, duration);
  return {
    Credentials: {
      AccessKeyId: credentials.accessKeyId,
      SecretAccessKey: credentials.secretAccessKey,
      SessionToken: credentials.sessionToken,
      Expiration: new Date(credentials.expiresAt).toISOString().replace(".000", ""),
    },
    SubjectFromWebIdentityToken: idToken.subject,
    AssumedRoleUser: { AssumedRoleId: userId, Arn: arn },
    PackedPolicySize: packedPolicySize,
    // What PackedPolicySize is called since June 2026.
    SessionTokenUtilization: packedPolicySize,
    SessionTokenSize: credentials.sessionToken.length,
    Provider: idToken.provider.arn,
    Audience: idToken.audience,
  };
}

/** One answer for a role that does not exist and one that does not trust: the caller learns nothing about the account. */
function trustingRole(iam: Registry, parameters: AssumeRoleParameters, idToken: IdToken, { tags }: SessionTags): Role {
  const role = iam.findRole({ arn: parameters.roleArn });
  const context = new Map([
    ...idToken.conditionKeys,
    ["aws:federatedprovider", [idToken.provider.arn]] as const,
    ["sts:rolesessionname", [parameters.roleSessionName]] as const,
    ...[...tags].map(([key, value]) => [`aws:requesttag/${key}`.toLowerCase(), [value]] as const),
  ]);
  if (tags.size > 0) context.set("aws:tagkeys", [...tags.keys()]);
  // Tags are a right of their own: a role that does not grant sts:TagSession refuses a token that carries any.
  const actions = ["sts:AssumeRoleWithWebIdentity", ...(tags.size > 0 ? ["sts:TagSession"] : [])];
  const federated = idToken.provider.arn;
  if (role === undefined || !actions.every((action) => isAllowed(role.trust, { action, federated, context }))) {
    throw new AwsError("AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity");
  }
  return role;
}

/** Per cent of what policy and tags together may take, rounded up. */
function packedSize({ tags, transitiveKeys }: SessionTags, { sessionPolicy }: AssumeRoleParameters): number {
  const texts = [sessionPolicy?.text ?? "", ...[...tags].flat(), ...transitiveKeys];
  const percent = Math.ceil((100 * texts.join("").length) / PACKED_LIMIT);
  if (percent > 100) {
    throw new AwsError(
      "PackedPolicyTooLarge",
      400,
      `Packed size of session tags and policies consumes ${percent}% of allotted space.`,
    );
  }
  return percent;
}
