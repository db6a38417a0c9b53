import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { Secret } from "@agentkeys/lib/secret";

import { auditEvent } from "../../audit/index.ts";
import { type LoginRequest, newLogin, type StartedLogin, startedLogin } from "../new-login.ts";
import type { LoginParts } from "../parts.ts";
import type { IdentityProvider } from "./provider.ts";

export interface OauthLoginRequest extends LoginRequest {
  /** Its name in the settings. */
  provider: string;
}

export type OauthParts = LoginParts & { providers: ReadonlyMap<string, IdentityProvider> };

/** Starts a sign-in at a provider, which begins on a page of ours. @throws Failure PROVIDER_UNKNOWN, PROVIDER_UNAVAILABLE, RATE_LIMITED */
export async function startOauthLogin(
  parts: OauthParts,
  request: OauthLoginRequest,
): Promise<StartedLogin & { pageUrl: Secret }> {
  const { transaction, limits, publicUrl, clock, random } = parts;
  const { caller } = request;
  await limits.consume("oauthLogins", caller.sourceAddress);
  const provider = providerNamed(parts, request.provider);
  // Told here, where another way can be chosen, and not after the person went to the page.
  await provider.check();
  const now = clock();
  const { login, loginSecret, linkToken } = newLogin({ method: "oauth2", provider: provider.name }, request, {
    now,
    random,
  });
  await transaction(async (tx) => {
    await tx.logins.insert(login);
    await tx.audit.append(auditEvent(now, caller, { action: "login.started", subject: provider.name }));
  });
  return { ...startedLogin(login, loginSecret), pageUrl: new Secret(`${publicUrl()}/login#${linkToken}`) };
}

/** @throws Failure PROVIDER_UNKNOWN */
export function providerNamed({ providers }: Pick<OauthParts, "providers">, name: string): IdentityProvider {
  const provider = providers.get(name);
  if (provider !== undefined) return provider;
  const names = [...providers.keys()];
  throw new Failure(
    ErrorReason.PROVIDER_UNKNOWN,
    names.length === 0
      ? "this broker signs nobody in by OAuth2; sign in by e-mail"
      : `provider is none of this broker's: it has ${names.join(", ")}`,
  );
}
