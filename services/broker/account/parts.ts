import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { RandomBytes } from "@agentkeys/lib/random";
import type { Session } from "@agentkeys/lib/session";

import type { AuditStore, Caller } from "../audit/index.ts";
import type { AccountStore, IdentityRules, IdentityStore } from "../identity/index.ts";
import type { HeldLogin, LoginStore } from "../login/index.ts";
import type { NoticeStore } from "../notices/index.ts";
import type { PasskeyStore } from "../passkey/index.ts";
import type { SessionRecord, SessionStore } from "../token/index.ts";
import type { WalletStore } from "../wallet/index.ts";

export interface AccountStores {
  logins: LoginStore;
  identities: IdentityStore;
  accounts: AccountStore;
  sessions: SessionStore;
  passkeys: PasskeyStore;
  wallets: WalletStore;
  notices: NoticeStore;
  audit: AuditStore;
}

/** What a person's changes to the account are made of. */
export interface AccountParts extends IdentityRules {
  logins: LoginStore;
  transaction: <T>(work: (tx: AccountStores) => Promise<T>) => Promise<T>;
  clock: Clock;
  random: RandomBytes;
}

/** Who acts: the session of a machine or of a browser. */
export interface Actor extends Pick<Session, "id" | "anchor"> {
  /** Of the cookie that the browser came with. */
  cookieHash?: string;
}

/** Who asks, and the sign-in with the other identity that they hold. */
export interface ProvenRequest {
  login: HeldLogin;
  session: Actor;
  caller: Caller;
}

/** How lately somebody must have proven who they are to add a way in, in milliseconds. */
export const PROOF_FOR_LINK_MS = 10 * MINUTE;
/** The same, to take one away or to lift a freeze. */
export const PROOF_FOR_UNLINK_MS = 5 * MINUTE;

/** The session's record, if its person proved who they are lately enough. @throws Failure FRESH_SIGN_IN_REQUIRED, SESSION_REVOKED */
export async function freshSession(
  { sessions }: Pick<AccountStores, "sessions">,
  { id, cookieHash }: Actor,
  now: number,
  maxAgeMs: number,
): Promise<SessionRecord> {
  const record = await sessions.find(id);
  // Between the check at the door and this transaction somebody may have ended it; or its person has proven who they are, and has another
  // cookie: who came with the old one has proven nothing.
  if (record === undefined || record.revokedAt !== undefined || record.cookieHash !== cookieHash) {
    throw new Failure(ErrorReason.SESSION_REVOKED, "the session was revoked; sign in again");
  }
  if (isFresh(record, now, maxAgeMs)) return record;
  throw new Failure(
    ErrorReason.FRESH_SIGN_IN_REQUIRED,
    `this needs a sign-in within the last ${maxAgeMs / MINUTE} minutes: sign in once more with an identity of this account (StepUp)`,
  );
}

/** Whether somebody proved who they are lately enough. */
export function isFresh({ provenAt }: Pick<SessionRecord, "provenAt">, now: number, maxAgeMs: number): boolean {
  return now - provenAt <= maxAgeMs;
}
