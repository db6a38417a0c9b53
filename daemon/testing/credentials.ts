import { Secret } from "@agentkeys/lib/secret";

import type { AwsCredentials } from "../credentials/aws-credentials.ts";

/** Credentials that were obtained at `obtainedAt` and live for `lifeMs`. */
export function credentialsOf(obtainedAt: number, lifeMs: number, accessKeyId = "ASIATEST"): AwsCredentials {
  return {
    accessKeyId,
    secretAccessKey: new Secret("secret-access-key"),
    sessionToken: new Secret("session-token"),
    obtainedAt,
    expiresAt: obtainedAt + lifeMs,
  };
}
