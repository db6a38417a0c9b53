import { Secret } from "@agentkeys/lib/secret";

import { auditEvent } from "../../audit/index.ts";
import { relyingPartyAt } from "../../passkey/index.ts";
import { type LoginRequest, newLogin, type StartedLogin, startedLogin } from "../new-login.ts";
import type { LoginParts } from "../parts.ts";

/** Starts a sign-in with a passkey, on a page of ours. @throws Failure RATE_LIMITED; NOT_SERVED where no browser would use one */
export async function startPasskeyLogin(
  { transaction, limits, publicUrl, clock, random }: LoginParts,
  request: LoginRequest,
): Promise<StartedLogin & { pageUrl: Secret }> {
  const { caller } = request;
  relyingPartyAt(publicUrl());
  await limits.consume("passkeyLogins", caller.sourceAddress);
  const now = clock();
  const { login, loginSecret, linkToken } = newLogin({ method: "passkey" }, request, { now, random });
  await transaction(async (tx) => {
    await tx.logins.insert(login);
    await tx.audit.append(auditEvent(now, caller, { action: "login.started", subject: "passkey" }));
  });
  return { ...startedLogin(login, loginSecret), pageUrl: new Secret(`${publicUrl()}/login#${linkToken}`) };
}
