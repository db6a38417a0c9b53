import { createHmac } from "node:crypto";

import { MINUTE } from "@agentkeys/lib/clock";
import { Failure } from "@agentkeys/lib/failure";
import { randomSecret } from "@agentkeys/lib/random";

import { auditEvent, type Caller } from "../../audit/index.ts";
import { findByHandle } from "../decide-login.ts";
import { hashOf } from "../secrets.ts";
import { next } from "../state-machine.ts";
import type { Login } from "../store.ts";
import { AnswerRefused, type AuthorizationRequest, ConsentRefused, type IdentityProvider } from "./provider.ts";
import { type OauthParts, providerNamed } from "./start-oauth-login.ts";

/** How long a person may take at the provider. */
const VISIT_LIFE_MS = 10 * MINUTE;

/**
 * The press of the first button: where the browser is to go. The way back is bound to this browser by `browserSecret`, from which all
 * that the provider's answer is checked with is made, so that nothing of it has to be kept.
 * @throws LinkUsed, Failure LOGIN_NOT_FOUND, LOGIN_EXPIRED, LOGIN_REFUSED, PROVIDER_UNKNOWN, PROVIDER_UNAVAILABLE, RATE_LIMITED
 */
export async function goToProvider(
  parts: OauthParts,
  { linkToken, browserSecret, caller }: { linkToken: string; browserSecret: string; caller: Caller },
): Promise<{ url: URL; provider: IdentityProvider }> {
  const login = await findByHandle(parts, { linkToken }, caller);
  const status = next(login, "identify", parts.clock());
  if (status instanceof Failure) throw status;
  await parts.limits.consume("providerVisits", caller.sourceAddress);
  const provider = providerNamed(parts, login.provider ?? "");
  const state = randomSecret(parts.random);
  const url = await provider.authorizationUrl(requestFor(parts, provider.name, state, browserSecret));
  await parts.transaction((tx) =>
    tx.oauthRequests.insert({
      stateHash: hashOf(state),
      loginId: login.loginId,
      provider: provider.name,
      browserHash: hashOf(browserSecret),
      expiresAt: Math.min(login.expiresAt, parts.clock() + VISIT_LIFE_MS),
    }),
  );
  return { url, provider };
}

/**
 * The browser is back: the provider's answer is redeemed, once, and only for the browser that went there. The person still has to
 * agree. @throws ConsentRefused, AnswerRefused, LinkUsed, Failure LOGIN_*, PROVIDER_UNKNOWN, PROVIDER_UNAVAILABLE
 */
export async function returnFromProvider(
  parts: OauthParts,
  { name, callback, browserSecret, caller }: { name: string; callback: URL; browserSecret: string; caller: Caller },
): Promise<Login> {
  const { transaction, logins, clock } = parts;
  const provider = providerNamed(parts, name);
  const state = callback.searchParams.get("state") ?? "";
  const browserHash = hashOf(browserSecret);
  const request = await transaction((tx) =>
    tx.oauthRequests.spend({ stateHash: hashOf(state), provider: provider.name, browserHash }, clock()),
  );
  const login = request && (await logins.find(request.loginId));
  if (login === undefined) {
    await parts.limits.consume("wrongLinks", caller.sourceAddress);
    throw new AnswerRefused();
  }
  const status = next(login, "identify", clock());
  if (status instanceof Failure) throw status;
  try {
    const identity = await provider.redeem(callback, requestFor(parts, provider.name, state, browserSecret));
    const identified = await transaction((tx) => tx.logins.identify(login.loginId, identity, browserHash, clock()));
    if (!identified) throw new AnswerRefused();
    return { ...login, identity, browserHash, status: "identified" };
  } catch (error) {
    if (error instanceof ConsentRefused) await refuse(parts, login, caller);
    throw error;
  }
}

async function refuse({ transaction, bell, clock }: OauthParts, login: Login, caller: Caller): Promise<void> {
  await transaction(async (tx) => {
    const now = clock();
    if (!(await tx.logins.advance(login.loginId, "pending", "refused", now))) return;
    await tx.audit.append(auditEvent(now, caller, { action: "login.refused", subject: login.provider ?? "" }));
  });
  bell.ring(login.loginId);
}

/** Each provider has a redirect URI of its own: an answer of one cannot be passed off as another's (RFC 9700 section 4.4.2.2). */
function requestFor(
  { publicUrl }: OauthParts,
  provider: string,
  state: string,
  browserSecret: string,
): AuthorizationRequest {
  const derive = (purpose: string): string =>
    createHmac("sha256", browserSecret).update(`${purpose} ${provider} ${state}`).digest("base64url");
  return {
    state,
    nonce: derive("nonce"),
    codeVerifier: derive("pkce"),
    redirectUri: `${publicUrl()}/login/callback/${provider}`,
  };
}
