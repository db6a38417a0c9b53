import type { Caller } from "../audit/index.ts";
import { auditEvent } from "../audit/index.ts";
import { revokeSession } from "../token/index.ts";
import { type AccountParts, type Actor, freshSession, PROOF_FOR_UNLINK_MS } from "./parts.ts";

/**
 * Ends another session of the account, and what came from it, for a person who is to have proven lately who they are; gives the ids of
 * those that ended. @throws Failure FRESH_SIGN_IN_REQUIRED, SESSION_REVOKED, SESSION_NOT_FOUND
 */
export async function endSession(
  parts: AccountParts,
  { target, session, caller }: { target: string; session: Actor; caller: Caller },
): Promise<string[]> {
  await parts.transaction((tx) => freshSession(tx, session, parts.clock(), PROOF_FOR_UNLINK_MS));
  return revokeSession(parts, target, session, caller);
}

/**
 * Ends every session of the account but the one that asks; gives the ids of those that ended.
 * @throws Failure FRESH_SIGN_IN_REQUIRED, SESSION_REVOKED
 */
export async function endOtherSessions(
  parts: AccountParts,
  { session, caller }: { session: Actor; caller: Caller },
): Promise<string[]> {
  const { anchor, id: sessionId } = session;
  return parts.transaction(async (tx) => {
    const now = parts.clock();
    await freshSession(tx, session, now, PROOF_FOR_UNLINK_MS);
    const ended: string[] = [];
    for (const { sessionId: target } of await tx.sessions.listLive(anchor, now)) {
      // One that ended with another one is no longer there to be ended.
      if (target !== sessionId) ended.push(...(await tx.sessions.revoke(target, now)));
    }
    for (const subject of ended) {
      await tx.audit.append(auditEvent(now, caller, { action: "session.revoked", anchor, sessionId, subject }));
    }
    return ended;
  });
}
