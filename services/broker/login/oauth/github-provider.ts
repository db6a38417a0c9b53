import { createHash } from "node:crypto";

import { SECOND } from "@agentkeys/lib/clock";
import type { Secret } from "@agentkeys/lib/secret";

import { parseDisplayName } from "../../identity/index.ts";
import { AnswerRefused, ConsentRefused, type IdentityProvider, providerUnavailable } from "./provider.ts";

export interface GithubProviderSettings {
  name: string;
  title: string;
  /** `https://github.com`, or that of a GitHub Enterprise Server. */
  baseUrl: string;
  clientId: string;
  clientSecret: Secret;
}

const TIMEOUT_MS = 10 * SECOND;

/**
 * GitHub, which speaks OAuth 2.0 without OpenID Connect: the person is the number of their GitHub account, which never changes and is
 * never given to anybody else, as their login name may be. No scope is asked for, and the access token is forgotten.
 */
export function createGithubProvider({
  name,
  title,
  baseUrl,
  clientId,
  clientSecret,
}: GithubProviderSettings): IdentityProvider {
  const api = baseUrl === "https://github.com" ? "https://api.github.com" : `${baseUrl}/api/v3`;

  const ask = async (url: string, init: RequestInit): Promise<Record<string, unknown>> => {
    let response: Response;
    try {
      response = await fetch(url, { ...init, redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch (error) {
      throw providerUnavailable(title, error);
    }
    if (response.status >= 500 || response.status === 429) throw providerUnavailable(title);
    const body: unknown = response.ok ? await response.json().catch(() => undefined) : undefined;
    if (typeof body !== "object" || body === null) throw new AnswerRefused();
    return body as Record<string, unknown>;
  };

  return {
    name,
    title,
    issuer: baseUrl,
    authorizationUrl: ({ state, codeVerifier, redirectUri }) => {
      const url = new URL(`${baseUrl}/login/oauth/authorize`);
      url.search = new URLSearchParams({
        client_id: clientId,
        redirect_uri: redirectUri,
        state,
        code_challenge: createHash("sha256").update(codeVerifier, "ascii").digest("base64url"),
        code_challenge_method: "S256",
        // Whoever is signed in at GitHub is asked which account it shall be.
        prompt: "select_account",
      }).toString();
      return Promise.resolve(url);
    },
    redeem: async (callback, { state, codeVerifier, redirectUri }) => {
      const answer = callback.searchParams;
      if (answer.get("state") !== state) throw new AnswerRefused();
      if (answer.get("error") === "access_denied") throw new ConsentRefused();
      const code = answer.get("code");
      if (code === null || answer.getAll("code").length > 1) throw new AnswerRefused();
      const { access_token: token } = await ask(`${baseUrl}/login/oauth/access_token`, {
        method: "POST",
        headers: { accept: "application/json" },
        body: new URLSearchParams({
          client_id: clientId,
          client_secret: clientSecret.reveal(),
          code,
          code_verifier: codeVerifier,
          redirect_uri: redirectUri,
        }),
      });
      if (typeof token !== "string") throw new AnswerRefused();
      const { id, login } = await ask(`${api}/user`, {
        headers: { accept: "application/vnd.github+json", authorization: `Bearer ${token}`, "user-agent": "agentkeys" },
      });
      if (typeof id !== "number" || !Number.isSafeInteger(id) || id <= 0) throw new AnswerRefused();
      return { type: "oauth2", value: `${baseUrl}|${id}`, displayName: parseDisplayName(login) };
    },
    check: async () => {
      await ask(`${api}/meta`, { headers: { "user-agent": "agentkeys" } });
    },
  };
}
