import { compactVerify, decodeJwt, decodeProtectedHeader, importJWK, type JWTPayload } from "jose";

import { type Clock, MINUTE, SECOND } from "@agentkeys/lib/clock";

import { AwsError } from "../aws-error.ts";
import type { Provider, Registry } from "../iam/registry.ts";
import { fetchProviderKey } from "./provider-keys.ts";

/** What AWS accepts of RFC 7518; neither PS*, EdDSA nor ES256K. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"];
/** So long after its `exp` a token is still taken. */
const EXPIRY_WINDOW_MS = 5 * MINUTE;

/** An ID token that was verified, and the claims that trust policies may ask about. */
export interface IdToken {
  provider: Provider;
  subject: string;
  /** `azp` if the token has one, else its `aud`. */
  audience: string;
  /** The values of the provider's condition keys (`<name>:aud` …) by lower-cased name. */
  conditionKeys: ReadonlyMap<string, readonly string[]>;
  claims: JWTPayload;
}

/** Verifies an ID token as AWS STS does. Throws InvalidIdentityToken, ExpiredTokenException or IDPCommunicationError. */
export async function verifyIdToken(
  token: string,
  d: { iam: Registry; clock: Clock; idpTimeoutMs: number },
): Promise<IdToken> {
  const { alg, kid, claims } = decode(token);
  const issuer = claims.iss;
  if (typeof issuer !== "string") throw missing("iss");
  const provider = d.iam.findProvider(issuer);
  if (provider === undefined) throw refused(`No OpenIDConnect provider found in your account for ${issuer}`);
  if (!ALGORITHMS.includes(alg)) throw refused(NOT_A_JWT);

  const jwk = await fetchProviderKey(issuer, kid, d.idpTimeoutMs);
  try {
    await compactVerify(token, await importJWK(jwk, alg), { algorithms: [alg] });
  } catch {
    throw refused("Invalid token signature");
  }

  for (const name of ["aud", "sub", "iat", "exp"]) if (claims[name] === undefined) throw missing(name);
  checkTimes(claims, d.clock());
  const { sub } = claims;
  if (typeof sub !== "string" || sub.length < 6 || sub.length > 255)
    throw refused("The sub claim must have 6 to 255 characters");
  return { provider, subject: sub, claims, ...checkAudience(claims, provider) };
}

const NOT_A_JWT = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)";

function decode(token: string): { alg: string; kid: string | undefined; claims: JWTPayload } {
  try {
    const { alg, kid } = decodeProtectedHeader(token);
    if (typeof alg === "string") return { alg, kid, claims: decodeJwt(token) };
  } catch {
    // Falls through to the refusal below.
  }
  throw refused(NOT_A_JWT);
}

/** AWS documents the window after `exp` only; a token from the future is granted the same for clocks that differ. */
function checkTimes({ exp, iat, nbf }: JWTPayload, now: number): void {
  if (![exp, iat, nbf ?? 0].every((time) => typeof time === "number" && Number.isFinite(time))) {
    throw refused("exp, iat and nbf must be numbers of seconds");
  }
  if (now > Number(exp) * SECOND + EXPIRY_WINDOW_MS) {
    throw new AwsError(
      "ExpiredTokenException",
      400,
      `Token expired: current date/time ${Math.floor(now / SECOND)} must be before the expiration date/time ${Number(exp)}`,
    );
  }
  if (Math.max(Number(iat), nbf ?? 0) * SECOND > now + EXPIRY_WINDOW_MS) throw refused("The token is not valid yet");
}

/** With an `azp`, that is the audience and `aud` becomes `<name>:oaud`. */
function checkAudience(claims: JWTPayload, provider: Provider): Pick<IdToken, "audience" | "conditionKeys"> {
  const azp = claims["azp"];
  const audiences = (Array.isArray(claims.aud) ? claims.aud : [claims.aud]).map(String);
  const candidates = typeof azp === "string" ? [azp] : audiences;
  const audience = candidates.find((candidate) => provider.clientIds.includes(candidate));
  if (audience === undefined) throw refused("Incorrect token audience");
  const keys = new Map([
    ["aud", [audience]],
    ["sub", [String(claims.sub)]],
  ]);
  if (typeof azp === "string") keys.set("oaud", audiences);
  if (Array.isArray(claims["amr"])) keys.set("amr", claims["amr"].map(String));
  return {
    audience,
    conditionKeys: new Map([...keys].map(([name, values]) => [`${provider.name}:${name}`.toLowerCase(), values])),
  };
}

function missing(claim: string): AwsError {
  return refused(`Missing a required claim: ${claim}`);
}

function refused(message: string): AwsError {
  return new AwsError("InvalidIdentityToken", 400, message);
}
