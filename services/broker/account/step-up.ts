import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent, type Caller } from "../audit/index.ts";
import { admissionRefusal, type Identity, type IdentityName } from "../identity/index.ts";
import { gone } from "../login/index.ts";
import { subjectOf, tellOthers } from "../notices/index.ts";
import { confirmedLogin, nameOf } from "./link-identity.ts";
import {
  type AccountParts,
  type AccountStores,
  type Actor,
  freshSession,
  PROOF_FOR_UNLINK_MS,
  type ProvenRequest,
} from "./parts.ts";

/**
 * Makes the session as fresh as a new one, by a confirmed sign-in with an identity of its account, which is spent; gives until when.
 * @throws Failure LOGIN_*, DPOP_INVALID, WRONG_ACCOUNT, IDENTITY_SUSPENDED, SECOND_IDENTITY_REQUIRED
 */
export async function stepUp(parts: AccountParts, request: ProvenRequest): Promise<number> {
  const login = await confirmedLogin(parts, request, "step-up");
  const name = nameOf(login, parts.clientId);
  return parts.transaction(async (tx) => {
    const until = await noteProof(tx, parts, name, request);
    if (!(await tx.logins.advance(login.loginId, "confirmed", "collected", parts.clock()))) throw gone();
    return until;
  });
}

/**
 * The same by a passkey that has just answered this very session (`verifyStepUp`): there is no sign-in to spend.
 * @throws Failure WRONG_ACCOUNT, IDENTITY_SUSPENDED
 */
export async function stepUpByPasskey(
  parts: AccountParts,
  { passkey, session, caller }: { passkey: Identity; session: Actor; caller: Caller },
): Promise<number> {
  return parts.transaction((tx) => noteProof(tx, parts, passkey, { session, caller }));
}

/** Whoever holds the session has just proven to be this identity of its account. */
async function noteProof(
  tx: AccountStores,
  parts: AccountParts,
  name: IdentityName,
  { session: { anchor, id: sessionId }, caller }: { session: Actor; caller: Caller },
): Promise<number> {
  const now = parts.clock();
  const all = await tx.identities.listOf(anchor);
  const identity = all.find(({ omniAccount }) => omniAccount === name.omniAccount);
  if (identity === undefined) {
    throw new Failure(ErrorReason.WRONG_ACCOUNT, "the sign-in is with an identity that is not linked to this account");
  }
  const refusal = admissionRefusal(identity, all, now, parts.dormantAfterMs);
  if (refusal !== undefined) throw refusal;
  await tx.identities.touch(identity.omniAccount, now, name.displayName);
  await tx.sessions.prove(sessionId, now);
  const facts = { anchor, sessionId, subject: name.value };
  await tx.audit.append(auditEvent(now, caller, { action: "identity.proven", ...facts }));
  return now + PROOF_FOR_UNLINK_MS;
}

/** Lifts a freeze. What was suspended stays so. @throws Failure FRESH_SIGN_IN_REQUIRED */
export async function unfreezeAccount(
  parts: AccountParts,
  { session, caller }: { session: Actor; caller: Caller },
): Promise<void> {
  const { anchor, id: sessionId } = session;
  await parts.transaction(async (tx) => {
    const now = parts.clock();
    if ((await tx.accounts.find(anchor))?.frozenAt === undefined) return;
    const { identity: by = anchor } = await freshSession(tx, session, now, PROOF_FOR_UNLINK_MS);
    await tx.accounts.unfreeze(anchor);
    const who = await tx.identities.find(by);
    await tx.audit.append(
      auditEvent(now, caller, { action: "account.unfrozen", anchor, sessionId, subject: who?.value ?? "" }),
    );
    const subject = who === undefined ? "" : subjectOf(who);
    await tellOthers(tx, parts, anchor, { kind: "unfrozen", subject, by, reported: by }, caller);
  });
}
