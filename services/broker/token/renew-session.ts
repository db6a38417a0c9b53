import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Clock } from "@agentkeys/lib/clock";
import type { Session } from "@agentkeys/lib/session";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import type { Limits } from "../limits/index.ts";
import type { IssuedSession, SessionIssuer } from "./sessions.ts";
import type { SessionStore } from "./store.ts";

export interface RenewalParts {
  transaction: <T>(work: (tx: { sessions: SessionStore; audit: AuditStore }) => Promise<T>) => Promise<T>;
  audit: AuditStore;
  limits: Limits;
  sessionIssuer: SessionIssuer;
  clock: Clock;
}

/** Ends a session in favour of a new one, for the same key. @throws Failure DPOP_REQUIRED, RENEWAL_ENDED, SESSION_REVOKED, RATE_LIMITED */
export async function renewSession(
  { transaction, audit, limits, sessionIssuer, clock }: RenewalParts,
  session: Session,
  caller: Caller,
): Promise<IssuedSession & { renewableUntil: number }> {
  const { anchor, id: sessionId } = session;
  // The key stays the same from renewal to renewal. What is not bound to one is told so below.
  if (session.dpopThumbprint !== undefined) await limits.consume("renewals", session.dpopThumbprint);
  try {
    return await transaction(async (tx) => {
      const renewed = await sessionIssuer.renew(tx.sessions, session);
      const facts = { anchor, sessionId, subject: renewed.record.sessionId };
      await tx.audit.append(auditEvent(clock(), caller, { action: "session.renewed", ...facts }));
      return renewed;
    });
  } catch (error) {
    if (error instanceof Failure && error.reason !== ErrorReason.STORE_UNAVAILABLE) {
      const facts = { outcome: ErrorReason[error.reason], anchor, sessionId, subject: sessionId };
      await audit.append(auditEvent(clock(), caller, { action: "session.renewed", ...facts }));
    }
    throw error;
  }
}
