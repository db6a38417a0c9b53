import type { AwsCredentials } from "../aws-credentials.ts";

/** What AWS's SDKs read from a `credential_process`, version 1 ("Sourcing credentials with an external process"). */
export function credentialProcessOutput(credentials: AwsCredentials): string {
  const { accessKeyId, secretAccessKey, sessionToken, expiresAt } = credentials;
  return (
    JSON.stringify({
      Version: 1,
      AccessKeyId: accessKeyId,
      SecretAccessKey: secretAccessKey.reveal(),
      SessionToken: sessionToken.reveal(),
      Expiration: awsTime(expiresAt),
    }) + "\n"
  );
}

/** ISO 8601 in whole seconds, as AWS writes it: some SDKs know no other form. */
export function awsTime(time: number): string {
  return new Date(time).toISOString().replace(/\.\d{3}Z$/, "Z");
}
