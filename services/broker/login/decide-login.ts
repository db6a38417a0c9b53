import { computeOmniAccount } from "@agentkeys/lib/account";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent, type Caller } from "../audit/index.ts";
import type { LoginParts } from "./parts.ts";
import { hashOf } from "./secrets.ts";
import { next } from "./state-machine.ts";
import type { Login } from "./store.ts";

/**
 * Shows the sign-in behind a mailed link, changing nothing.
 * @throws LinkUsed, Failure LOGIN_NOT_FOUND, LOGIN_EXPIRED, LOGIN_REFUSED, RATE_LIMITED
 */
export async function reviewLogin(parts: LoginParts, linkToken: string, caller: Caller): Promise<Login> {
  const login = await findByLink(parts, linkToken, caller);
  const outcome = next(login, "confirm", parts.clock());
  if (outcome instanceof Failure) throw outcome;
  return login;
}

/** The person's press of a button: confirms or refuses the sign-in, once. @throws as reviewLogin */
export async function decideLogin(
  parts: LoginParts,
  decision: "confirm" | "refuse",
  linkToken: string,
  caller: Caller,
): Promise<Login> {
  const { transaction, clock, bell, clientId } = parts;
  const login = await findByLink(parts, linkToken, caller);
  const now = clock();
  const status = next(login, decision, now);
  if (status instanceof Failure) throw status;
  const decided = await transaction(async (tx) => {
    if (!(await tx.logins.advance(login.loginId, login.status, status, now))) return false;
    const omniAccount = computeOmniAccount({ clientId, identityType: "email", identityValue: login.email });
    // Whose history it belongs in is known only if the mailbox has an account already.
    const known = (await tx.identities.find(omniAccount))?.anchor ?? omniAccount;
    const action = decision === "confirm" ? "login.confirmed" : "login.refused";
    await tx.audit.append(auditEvent(now, caller, { action, anchor: known, subject: login.email }));
    return true;
  });
  // Another press was quicker: the sign-in is where that one took it, and this one is told so.
  if (!decided) return decideLogin(parts, decision, linkToken, caller);
  bell.ring(login.loginId);
  return { ...login, status, decidedAt: now };
}

async function findByLink({ logins, limits }: LoginParts, linkToken: string, caller: Caller): Promise<Login> {
  const login = await logins.findByConfirmHash(hashOf(linkToken));
  if (login !== undefined) return login;
  // Counts what is wrong, and only that: nobody at the same address keeps a person from a link that is right.
  await limits.consume("wrongLinks", caller.sourceAddress);
  throw new Failure(ErrorReason.LOGIN_NOT_FOUND, "this link belongs to no sign-in");
}
