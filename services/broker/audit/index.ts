import type { OmniAccount } from "@agentkeys/lib/account";

/** What can happen in an account's name. */
export type AuditAction =
  | "login.started"
  | "login.confirmed"
  | "login.refused"
  | "login.collected"
  | "identity.linked"
  | "identity.unlinked"
  | "identity.proven"
  | "passkey.refused"
  | "account.merged"
  | "account.frozen"
  | "account.unfrozen"
  | "session.renewed"
  | "session.revoked"
  | "wallet.claimed"
  | "challenge.started"
  | "wallet.verified"
  | "wallet.retired"
  | "wallet.restored"
  | "oidc.minted"
  | "call.refused";

/** One thing that happened or was refused: who, what, from where, with what outcome. Never a secret. */
export interface AuditEvent {
  occurredAt: number;
  /** Whose it is; absent while that is not known. */
  anchor?: OmniAccount;
  action: AuditAction;
  /** "ok", or the name of the ErrorReason for which it was refused. */
  outcome: string;
  /** The session that acted; empty where there was none. */
  sessionId: string;
  sourceAddress: string;
  requestId: string;
  /** What it was about: an address, an audience, a session id. */
  subject: string;
}

/** An event as it stands in the log. */
export interface RecordedEvent extends AuditEvent {
  /** Grows with time. */
  eventId: number;
}

export interface AuditStore {
  append(event: AuditEvent): Promise<void>;
  /** The account's events, those of accounts that ended in it among them, older than `before` (all when absent), the newest first. */
  page(anchor: OmniAccount, size: number, before?: number): Promise<RecordedEvent[]>;
  /**
   * Forgets at most `count` events from before `time`, and as many that belong to nobody from before `unownedTime`; returns how many.
   * What is left, the next call takes: a long history must not keep others from the store.
   */
  purge(time: number, unownedTime: number, count: number): Promise<number>;
}

/** What its author has to say of an event; the rest comes from the caller and the clock. */
export interface AuditFacts {
  action: AuditAction;
  /** Default "ok". */
  outcome?: string;
  anchor?: OmniAccount | undefined;
  sessionId?: string;
  subject: string;
}

export function auditEvent(
  occurredAt: number,
  { sourceAddress, requestId }: Caller,
  { action, outcome = "ok", anchor, sessionId = "", subject }: AuditFacts,
): AuditEvent {
  return { occurredAt, action, outcome, sessionId, subject, sourceAddress, requestId, ...(anchor && { anchor }) };
}

/** From where a call came: what every event says about it. */
export interface Caller {
  sourceAddress: string;
  requestId: string;
  userAgent: string;
}
