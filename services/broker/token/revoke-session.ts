import type { Clock } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Session } from "@agentkeys/lib/session";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import type { SessionStore } from "./store.ts";

export interface RevocationParts {
  transaction: <T>(work: (tx: { sessions: SessionStore; audit: AuditStore }) => Promise<T>) => Promise<T>;
  clock: Clock;
}

/**
 * Ends a session of the caller's account, and every session that came from it; gives the ids of those that ended. One that was renewed
 * since the caller saw it is ended as what it goes on as: by renewing all the time nobody outruns who ends it.
 * @throws Failure SESSION_NOT_FOUND, also for a session of somebody else's: that it exists is nobody's business
 */
export async function revokeSession(
  { transaction, clock }: RevocationParts,
  target: string,
  { anchor, id: sessionId }: Pick<Session, "id" | "anchor">,
  caller: Caller,
): Promise<string[]> {
  const ended = await transaction(async (tx) => {
    const now = clock();
    const latest = await tx.sessions.latest(target);
    const ids = latest?.anchor === anchor ? await tx.sessions.revoke(latest.sessionId, now) : [];
    const outcome = ids.length === 0 ? ErrorReason[ErrorReason.SESSION_NOT_FOUND] : "ok";
    for (const subject of ids.length === 0 ? [target] : ids) {
      const facts = { outcome, anchor, sessionId, subject };
      await tx.audit.append(auditEvent(now, caller, { action: "session.revoked", ...facts }));
    }
    return ids;
  });
  if (ended.length > 0) return ended;
  throw new Failure(
    ErrorReason.SESSION_NOT_FOUND,
    "no session of this account has this session_id, or it has ended already",
  );
}
