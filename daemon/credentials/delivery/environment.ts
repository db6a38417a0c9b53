import { devNull } from "node:os";

import type { Environment } from "@agentkeys/lib/settings";

/** How AWS's SDKs of a process find the credentials endpoint. */
export interface EndpointAccess {
  url: string;
  /** The token itself, or the file that it is in. */
  token: { value: string } | { file: string };
}

/** The variables that lead AWS's SDKs to the endpoint. */
export function endpointVariables({ url, token }: EndpointAccess): Record<string, string> {
  return {
    AWS_CONTAINER_CREDENTIALS_FULL_URI: url,
    ...("value" in token
      ? { AWS_CONTAINER_AUTHORIZATION_TOKEN: token.value }
      : { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token.file }),
  };
}

/**
 * The environment of an agent: credentials from the endpoint or none. Every other source that AWS's SDKs would try first is taken
 * away, the shared files with their profiles among them, so that a person's own keys are never used by mistake; so are settings of ours
 * that an agent has no business with.
 */
export function agentEnvironment(
  env: Environment,
  access: EndpointAccess,
  region: string | undefined,
): Record<string, string> {
  const kept = Object.entries(env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !isTakenAway(entry[0]),
  );
  return {
    ...Object.fromEntries(kept),
    // The region often stands in the config file, which the agent does not see.
    ...(region !== undefined && { AWS_REGION: region, AWS_DEFAULT_REGION: region }),
    AWS_SHARED_CREDENTIALS_FILE: devNull,
    AWS_CONFIG_FILE: devNull,
    AWS_EC2_METADATA_DISABLED: "true",
    ...endpointVariables(access),
  };
}

const otherSources = new Set([
  "AWS_ACCESS_KEY_ID",
  "AWS_ACCESS_KEY",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SECRET_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_SECURITY_TOKEN",
  "AWS_CREDENTIAL_EXPIRATION",
  "AWS_CREDENTIAL_FILE",
  "AWS_PROFILE",
  "AWS_DEFAULT_PROFILE",
  "AWS_SDK_LOAD_CONFIG",
  "AWS_ROLE_ARN",
  "AWS_ROLE_SESSION_NAME",
  "AWS_WEB_IDENTITY_TOKEN_FILE",
  "AWS_BEARER_TOKEN_BEDROCK",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN",
  "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
]);

/** What `agentkeys` itself is set up with, so that an agent can run it; none of it is secret. */
const ownSettings = new Set([
  "AGENTKEYS_BROKER_URL",
  "AGENTKEYS_KEYS_URL",
  "AGENTKEYS_STATE_DIR",
  "AGENTKEYS_AWS_ROLE_ARN",
  "AGENTKEYS_AWS_SESSION_SECONDS",
]);

function isTakenAway(name: string): boolean {
  if (name.startsWith("AGENTKEYS_")) return !ownSettings.has(name);
  return otherSources.has(name) || name === "DEV_KEY_SERVICE_MASTER_SECRET";
}
