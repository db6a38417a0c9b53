/* eslint-disable @typescript-eslint/no-deprecated -- `allowInsecureRequests` is marked so by its authors to make people think */
import * as oidc from "openid-client";

import { type Clock, HOUR, SECOND } from "@agentkeys/lib/clock";
import type { Secret } from "@agentkeys/lib/secret";

import { parseDisplayName } from "../../identity/index.ts";
import { AnswerRefused, ConsentRefused, type IdentityProvider, providerUnavailable } from "./provider.ts";

export interface OidcProviderSettings {
  name: string;
  title: string;
  /** https, except on loopback. */
  issuer: string;
  clientId: string;
  clientSecret: Secret;
}

/** For a provider on loopback, the only one that the settings let be spoken to without TLS. The library looks for this very function. */
const overPlainHttp = oidc.allowInsecureRequests;

/** How long a provider's discovery document is believed. */
const METADATA_LIFE_MS = HOUR;
/** How long a provider that could be asked counts as there. */
const PROBE_LIFE_MS = 30 * SECOND;
const TIMEOUT_SECONDS = 10;

/**
 * Any OpenID Connect provider: authorization code flow with PKCE, state and nonce, the ID token's signature checked against the
 * provider's keys, and the issuer in the answer (RFC 9207) against the one that was asked.
 */
export function createOidcProvider(settings: OidcProviderSettings, clock: Clock): IdentityProvider {
  const { name, title, clientId, clientSecret } = settings;
  const issuer = new URL(settings.issuer);
  const options: oidc.DiscoveryRequestOptions = {
    timeout: TIMEOUT_SECONDS,
    execute: issuer.protocol === "http:" ? [overPlainHttp] : [],
  };
  let known: { metadata: oidc.ServerMetadata; keys?: oidc.ExportedJWKSCache; asOf: number } | undefined;

  const metadata = async (lifeMs = METADATA_LIFE_MS): Promise<NonNullable<typeof known>> => {
    if (known !== undefined && clock() - known.asOf < lifeMs) return known;
    try {
      const found = await oidc.discovery(issuer, clientId, clientSecret.reveal(), undefined, options);
      known = { ...known, metadata: found.serverMetadata(), asOf: clock() };
      return known;
    } catch (error) {
      throw providerUnavailable(title, error);
    }
  };

  /** A configuration for one request: what the library keeps in it is nobody else's. */
  const configuration = async (): Promise<oidc.Configuration> => {
    const { metadata: server, keys } = await metadata();
    const config = new oidc.Configuration(server, clientId, clientSecret.reveal());
    config.timeout = TIMEOUT_SECONDS;
    if (issuer.protocol === "http:") overPlainHttp(config);
    oidc.enableNonRepudiationChecks(config);
    // The library asks again for an unknown key only if those it has are a minute old: they are made to look it.
    if (keys !== undefined) oidc.setJwksCache(config, { ...keys, uat: keys.uat - 61 });
    return config;
  };

  return {
    name,
    title,
    issuer: settings.issuer,
    authorizationUrl: async ({ state, nonce, codeVerifier, redirectUri }) =>
      oidc.buildAuthorizationUrl(await configuration(), {
        redirect_uri: redirectUri,
        scope: scopesFor(await metadata()),
        state,
        nonce,
        code_challenge: await oidc.calculatePKCECodeChallenge(codeVerifier),
        code_challenge_method: "S256",
      }),
    redeem: async (callback, { state, nonce, codeVerifier }) => {
      const config = await configuration();
      try {
        const tokens = await oidc.authorizationCodeGrant(config, callback, {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: codeVerifier,
          idTokenExpected: true,
        });
        const keys = oidc.getJwksCache(config);
        if (known !== undefined && keys !== undefined)
          known.keys = { ...keys, uat: Math.max(keys.uat, known.keys?.uat ?? 0) };
        const claims = tokens.claims();
        if (claims === undefined || claims.iss !== config.serverMetadata().issuer) throw new AnswerRefused();
        const displayName = parseDisplayName(claims["email"] ?? claims["preferred_username"] ?? claims["name"]);
        return { type: "oauth2", value: `${claims.iss}|${claims.sub}`, displayName };
      } catch (error) {
        throw explained(error, title);
      }
    },
    check: async () => {
      await metadata(PROBE_LIFE_MS);
    },
  };
}

/** What people call themselves is asked for where the provider knows such questions; it is shown, and nothing else. */
function scopesFor({ metadata }: { metadata: oidc.ServerMetadata }): string {
  const known = metadata.scopes_supported ?? [];
  return ["openid", ...["email", "profile"].filter((scope) => known.includes(scope))].join(" ");
}

/** The library's errors as ours: said no, not to be believed, or not to be reached. */
function explained(error: unknown, title: string): unknown {
  if (error instanceof AnswerRefused) return error;
  if (error instanceof oidc.AuthorizationResponseError) {
    return error.error === "access_denied" ? new ConsentRefused() : new AnswerRefused(error);
  }
  if (error instanceof oidc.ResponseBodyError)
    return error.status >= 500 ? providerUnavailable(title, error) : new AnswerRefused(error);
  if (error instanceof oidc.ClientError) {
    const unreachable = ["OAUTH_TIMEOUT", "OAUTH_ABORT", "OAUTH_RESPONSE_IS_NOT_CONFORM"].includes(error.code ?? "");
    return unreachable ? providerUnavailable(title, error) : new AnswerRefused(error);
  }
  // Node's fetch says "fetch failed" with a TypeError when nobody answers.
  if (error instanceof TypeError) return providerUnavailable(title, error);
  return new AnswerRefused(error);
}
