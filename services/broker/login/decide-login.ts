import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { equalSecrets } from "@agentkeys/lib/secret";

import { auditEvent, type Caller } from "../audit/index.ts";
import { nameIdentity } from "../identity/index.ts";
import type { LoginParts } from "./parts.ts";
import { hashOf } from "./secrets.ts";
import { LinkUsed, type LoginEvent, next } from "./state-machine.ts";
import type { Login } from "./store.ts";

/** What a browser proves itself with: the secret in the link, or, once it came back from a provider, its own. */
export type LoginHandle = { linkToken: string } | { loginId: string; browserSecret: string };

/**
 * Shows the sign-in behind a link, changing nothing.
 * @throws LinkUsed, Failure LOGIN_NOT_FOUND, LOGIN_EXPIRED, LOGIN_REFUSED, RATE_LIMITED
 */
export async function reviewLogin(parts: LoginParts, handle: LoginHandle, caller: Caller): Promise<Login> {
  const login = await findByHandle(parts, handle, caller);
  const outcome = next(login, ahead(login, handle), parts.clock());
  if (outcome instanceof Failure) throw outcome;
  return login;
}

/** What the page is going to lead to: behind a provider's link, what the first button does; back from there, what the second one does. */
function ahead({ method }: Login, handle: LoginHandle): LoginEvent {
  if (method === "wallet" || method === "passkey") return "prove";
  return "linkToken" in handle && method === "oauth2" ? "identify" : "confirm";
}

/** The person's press of a button: confirms or refuses the sign-in, once. @throws as reviewLogin */
export async function decideLogin(
  parts: LoginParts,
  decision: "confirm" | "refuse",
  handle: LoginHandle,
  caller: Caller,
): Promise<Login> {
  const { transaction, clock, bell, clientId } = parts;
  const login = await findByHandle(parts, handle, caller);
  const now = clock();
  const status = next(login, decision, now);
  if (status instanceof Failure) throw status;
  // Whoever started the sign-in knows this link, and must not be the one to agree for the person who went to the provider.
  if (decision === "confirm" && "linkToken" in handle && login.method === "oauth2") throw new LinkUsed();
  const decided = await transaction(async (tx) => {
    if (!(await tx.logins.advance(login.loginId, login.status, status, now))) return false;
    const name = login.identity && nameIdentity(login.identity, clientId);
    // Whose history it belongs in is known only if the identity has an account already.
    const known = name && ((await tx.identities.find(name.omniAccount))?.anchor ?? name.omniAccount);
    const action = decision === "confirm" ? "login.confirmed" : "login.refused";
    const subject = name?.value ?? login.provider ?? "";
    await tx.audit.append(auditEvent(now, caller, { action, anchor: known, subject }));
    return true;
  });
  // Another press was quicker: the sign-in is where that one took it, and this one is told so.
  if (!decided) return decideLogin(parts, decision, handle, caller);
  bell.ring(login.loginId);
  return { ...login, status, decidedAt: now };
}

/** @throws Failure LOGIN_NOT_FOUND, RATE_LIMITED */
export async function findByHandle(
  { logins, limits }: Pick<LoginParts, "logins" | "limits">,
  handle: LoginHandle,
  caller: Caller,
): Promise<Login> {
  if ("linkToken" in handle) {
    const login = await logins.findByConfirmHash(hashOf(handle.linkToken));
    // The link leads to the provider; what comes back belongs to the browser that went there.
    if (login !== undefined) return login;
  } else {
    const login = await logins.find(handle.loginId);
    const given = Buffer.from(hashOf(handle.browserSecret));
    const expected = login?.browserHash;
    if (login !== undefined && expected !== undefined && equalSecrets(given, Buffer.from(expected))) return login;
  }
  // Counts what is wrong, and only that: nobody at the same address keeps a person from a link that is right.
  await limits.consume("wrongLinks", caller.sourceAddress);
  throw new Failure(ErrorReason.LOGIN_NOT_FOUND, "this link belongs to no sign-in");
}
