import type { Clock } from "@agentkeys/lib/clock";
import { equalSecrets } from "@agentkeys/lib/secret";

import { AwsError } from "./aws-error.ts";
import { type Service, verifySigV4, type WireRequest } from "./sigv4.ts";
import type { RoleSession, SessionCredentials } from "./sts/session-credentials.ts";

/** The account's administrator: a key without an end that may do everything, as an operator has on AWS. */
export interface AdminKey {
  accessKeyId: string;
  secretAccessKey: string;
}

/** Who a signature speaks for. */
export type Caller = { kind: "admin" } | { kind: "session"; session: RoleSession };

/** Finds out who signed a request. Throws AWS's errors for the service that is called. */
export async function authenticate(
  request: WireRequest,
  d: { service: Service; admin: AdminKey; credentials: SessionCredentials; clock: Clock },
): Promise<Caller> {
  const { caller } = await verifySigV4(request, {
    service: d.service,
    clock: d.clock,
    find: async (accessKeyId): Promise<{ caller: Caller; secretAccessKey: string }> => {
      const token = request.headers["x-amz-security-token"];
      if (token === undefined) {
        // A temporary key is nothing without its token.
        if (accessKeyId !== d.admin.accessKeyId) throw unknownKey(d.service);
        return { caller: { kind: "admin" }, secretAccessKey: d.admin.secretAccessKey };
      }
      const session = await d.credentials.open(String(token));
      if (session === "expired") throw expired(d.service);
      if (session === "invalid") throw invalidToken(d.service);
      if (!equalSecrets(Buffer.from(session.accessKeyId), Buffer.from(accessKeyId))) throw unknownKey(d.service);
      return { caller: { kind: "session", session }, secretAccessKey: session.secretAccessKey };
    },
  });
  return caller;
}

function unknownKey(service: Service): AwsError {
  return service === "s3"
    ? new AwsError("InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records.")
    : new AwsError("InvalidClientTokenId", 403, "The security token included in the request is invalid.");
}

function invalidToken(service: Service): AwsError {
  return service === "s3"
    ? new AwsError("InvalidToken", 400, "The provided token is malformed or otherwise invalid.")
    : new AwsError("InvalidClientTokenId", 403, "The security token included in the request is invalid");
}

function expired(service: Service): AwsError {
  return service === "s3"
    ? new AwsError("ExpiredToken", 400, "The provided token has expired.")
    : new AwsError("ExpiredToken", 403, "The security token included in the request is expired");
}
