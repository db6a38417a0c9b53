import type { JWK } from "jose";

import { AwsError } from "../aws-error.ts";

/** What AWS wants to find in the discovery document beside `issuer` and `jwks_uri` before it takes a key from it. */
const REQUIRED_LISTS = ["response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"];
const MAX_KEYS_OF_A_KIND = 100;

/**
 * Fetches the key `kid` from the issuer's key set by OpenID Connect Discovery 1.0. AWS caches key sets; this stand-in asks every
 * time, so that a rotation shows at once. An issuer that cannot be reached within `timeoutMs` is IDPCommunicationError, one
 * that answers wrongly InvalidIdentityToken.
 */
export async function fetchProviderKey(issuer: string, kid: string | undefined, timeoutMs: number): Promise<JWK> {
  const discovery = await fetchJson(`${issuer}/.well-known/openid-configuration`, timeoutMs);
  const jwksUri = discovery["jwks_uri"];
  if (discovery["issuer"] !== issuer || typeof jwksUri !== "string" || !URL.canParse(jwksUri)) throw noKey();
  if (REQUIRED_LISTS.some((name) => !isNonEmptyList(discovery[name]))) throw noKey();

  const keys = (await fetchJson(jwksUri, timeoutMs))["keys"];
  if (!Array.isArray(keys) || !keys.every(isJwk)) throw noKey();
  for (const kty of ["RSA", "EC"]) {
    if (keys.filter((key) => key.kty === kty).length > MAX_KEYS_OF_A_KIND) throw noKey();
  }
  const found =
    kid === undefined ? [] : keys.filter((key) => key.kid === kid && (key.kty === "RSA" || key.kty === "EC"));
  if (found[0] === undefined || found.length > 1) throw noKey();
  return found[0];
}

async function fetchJson(url: string, timeoutMs: number): Promise<Record<string, unknown>> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(timeoutMs) });
    text = await response.text();
  } catch {
    throw new AwsError("IDPCommunicationError", 400, "Could not communicate with your identity provider");
  }
  if (response.status >= 500) {
    throw new AwsError("IDPCommunicationError", 400, "Your identity provider answered with an error");
  }
  if (response.status !== 200) throw noKey();
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Falls through to the refusal below.
  }
  throw noKey();
}

function isNonEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0;
}

function isJwk(value: unknown): value is JWK {
  return typeof value === "object" && value !== null && "kty" in value && typeof value.kty === "string";
}

/** AWS's words, two spaces included. */
function noKey(): AwsError {
  return new AwsError(
    "InvalidIdentityToken",
    400,
    "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
  );
}
