import {
  AssumeRoleWithWebIdentityCommand,
  type Credentials,
  STSClient,
  type STSClientConfig,
} from "@aws-sdk/client-sts";

import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";
import type { Environment } from "@agentkeys/lib/settings";

import { backoffMs } from "../backoff.ts";
import type { AssumeRole } from "../enrolment.ts";
import type { Sleep } from "../io.ts";
import { Problem } from "../problem.ts";
import type { AwsSettings } from "../settings.ts";
import type { AwsCredentials } from "./aws-credentials.ts";
import { explainSts } from "./sts-problem.ts";

const TRIES = 4;
const BACKOFF = { firstMs: 500, maxMs: 4000 };
/** The region of STS's original endpoint, for whoever has set none. */
const DEFAULT_REGION = "us-east-1";

/**
 * Trades an OIDC JWT at AWS STS for credentials of the role (AssumeRoleWithWebIdentity). The call is not signed and needs no other
 * credentials. What passes by itself is tried again, `TRIES` times in all. @throws Problem STS_UNREACHABLE, STS_REFUSED
 */
export function createAssumeRole(
  { roleArn, sessionSeconds }: Required<AwsSettings>,
  o: { env: Environment; clock: Clock; random: RandomBytes; sleep: Sleep },
): AssumeRole {
  return async (jwt, wallet) => {
    const client = await openClient(o.env);
    const command = new AssumeRoleWithWebIdentityCommand({
      RoleArn: roleArn,
      // What CloudTrail shows; 52 of the 64 characters allowed.
      RoleSessionName: `agentkeys-${wallet}`,
      WebIdentityToken: jwt.reveal(),
      DurationSeconds: sessionSeconds,
    });
    try {
      for (let failures = 1; ; failures++) {
        try {
          const obtainedAt = o.clock();
          return read((await client.send(command)).Credentials, obtainedAt);
        } catch (error) {
          const problem = explainSts(error, { jwt, roleArn, sessionSeconds });
          if (problem.kind !== "passing" || failures === TRIES) throw problem;
          await o.sleep(backoffMs(BACKOFF, failures, o.random));
        }
      }
    } finally {
      client.destroy();
    }
  };
}

/** The region that AWS's SDKs would use, from variables or the shared config file; `undefined` where none is set. */
export async function configuredRegion(env: Environment): Promise<string | undefined> {
  const client = new STSClient(configFrom(env));
  try {
    return await client.config.region();
  } catch {
    return undefined;
  } finally {
    client.destroy();
  }
}

/**
 * A client set up as every AWS SDK is: by variables and by the shared config file. A region that is set nowhere does not stop it, and
 * AWS_DEFAULT_REGION, which the AWS CLI reads and this SDK does not, counts too.
 */
async function openClient(env: Environment): Promise<STSClient> {
  return new STSClient({ ...configFrom(env), region: (await configuredRegion(env)) ?? DEFAULT_REGION });
}

function configFrom(env: Environment): STSClientConfig {
  const region = env["AWS_REGION"] ?? env["AWS_DEFAULT_REGION"];
  const endpoint = env["AWS_ENDPOINT_URL_STS"] ?? env["AWS_ENDPOINT_URL"];
  const ignored = env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"]?.toLowerCase() === "true";
  return {
    // Tries are counted here, not twice.
    maxAttempts: 1,
    requestHandler: { connectionTimeout: 5000, requestTimeout: 15_000, throwOnRequestTimeout: true },
    ...(endpoint !== undefined && endpoint !== "" && !ignored && { endpoint }),
    ...(region !== undefined && region !== "" && { region }),
  };
}

function read(credentials: Credentials | undefined, obtainedAt: number): AwsCredentials {
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = credentials ?? {};
  if (!AccessKeyId || !SecretAccessKey || !SessionToken || Expiration === undefined) {
    throw new Problem("STS_ANSWER_INVALID", "standing", "What answers as AWS STS gave no whole credentials.", {
      remedy: "Check AWS_ENDPOINT_URL_STS.",
    });
  }
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: new Secret(SecretAccessKey),
    sessionToken: new Secret(SessionToken),
    obtainedAt,
    expiresAt: Expiration.getTime(),
  };
}
