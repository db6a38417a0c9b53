import { Failure } from "@agentkeys/lib/failure";

import { auditEvent, type Caller } from "../../audit/index.ts";
import { nameIdentity } from "../../identity/index.ts";
import {
  authenticationOptions,
  passkeyName,
  registrationOptions,
  verifyAuthentication,
  verifyRegistration,
} from "../../passkey/index.ts";
import { findByHandle } from "../decide-login.ts";
import type { LoginParts } from "../parts.ts";
import { hashOf } from "../secrets.ts";
import { LinkUsed, next } from "../state-machine.ts";
import type { Login, LoginIdentity, ProvingBrowser } from "../store.ts";

/** The browser that has the sign-in's page open: it holds the link's secret and one of its own. */
export interface PasskeyVisit {
  linkToken: string;
  browserSecret: string;
  caller: Caller;
}

/**
 * The press of the button: what the browser is to have its passkey sign. To link, it makes a new one; for all else it uses one.
 * @throws LinkUsed, Failure LOGIN_NOT_FOUND, LOGIN_EXPIRED, LOGIN_REFUSED, RATE_LIMITED, NOT_SERVED
 */
export async function askPasskey(parts: LoginParts, visit: PasskeyVisit) {
  const login = await provable(parts, visit);
  await parts.limits.consume("passkeyLogins", visit.caller.sourceAddress);
  const browser = { loginId: login.loginId, browserSecret: visit.browserSecret };
  return login.purpose === "link"
    ? { create: await registrationOptions(parts, browser) }
    : { get: await authenticationOptions(parts, browser) };
}

/**
 * What the passkey signed confirms the sign-in, once: there is nothing more to agree to, for the button that was pressed said what it
 * is for. @throws as askPasskey; Failure INVALID_REQUEST, CHALLENGE_NOT_FOUND, PASSKEY_UNKNOWN, SIGNATURE_INVALID
 */
export async function proveByPasskey(parts: LoginParts, visit: PasskeyVisit & { answer: unknown }): Promise<Login> {
  const { transaction, clock, bell, clientId } = parts;
  const { caller } = visit;
  const login = await provable(parts, visit);
  const proof = await proofIn(parts, login, visit);
  const { identity, ...from } = proof;
  const { omniAccount, value } = nameIdentity(identity, clientId);
  const decidedAt = clock();
  const proven = await transaction(async (tx) => {
    if (!(await tx.logins.prove(login.loginId, identity, decidedAt, from))) return false;
    // Whose history it belongs in is known where the passkey is linked already.
    const anchor = (await tx.identities.find(omniAccount))?.anchor;
    await tx.audit.append(auditEvent(decidedAt, caller, { action: "login.confirmed", anchor, subject: value }));
    return true;
  });
  // Refused, or too late, while the passkey signed: the look at it says which.
  if (!proven) {
    await provable(parts, visit);
    throw new LinkUsed();
  }
  bell.ring(login.loginId);
  return { ...login, ...proof, status: "confirmed", decidedAt };
}

/** What has become of a sign-in that this browser confirmed. @throws Failure LOGIN_NOT_FOUND, RATE_LIMITED */
export async function provenHere(
  parts: LoginParts,
  { loginId, browserSecret, caller }: { loginId: string; browserSecret: string; caller: Caller },
): Promise<Login> {
  return findByHandle(parts, { loginId, browserSecret }, caller);
}

async function proofIn(
  parts: LoginParts,
  { loginId, purpose }: Login,
  { browserSecret, answer, caller }: PasskeyVisit & { answer: unknown },
): Promise<ProvingBrowser & { identity: LoginIdentity }> {
  const browser = { loginId, browserSecret };
  const browserHash = hashOf(browserSecret);
  if (purpose === "link") {
    const newPasskey = await verifyRegistration(parts, browser, { answer, caller });
    const displayName = passkeyName(caller.userAgent, parts.clock());
    return { identity: { type: "passkey", value: newPasskey.credentialId, displayName }, browserHash, newPasskey };
  }
  const { credentialId, omniAccount } = await verifyAuthentication(parts, browser, { answer, caller });
  const displayName = (await parts.identities.find(omniAccount))?.displayName;
  return { identity: { type: "passkey", value: credentialId, ...(displayName && { displayName }) }, browserHash };
}

async function provable(parts: LoginParts, { linkToken, caller }: PasskeyVisit): Promise<Login> {
  const login = await findByHandle(parts, { linkToken }, caller);
  const status = next(login, "prove", parts.clock());
  if (status instanceof Failure) throw status;
  return login;
}
