import { MINUTE } from "@agentkeys/lib/clock";

import type { SessionRecord } from "./store.ts";

/**
 * How long a session that was renewed may ask for the answer again, in milliseconds: twice what a program waits for one, and some time
 * to try again.
 */
export const RENEWAL_GRACE_MS = 2 * MINUTE;

/**
 * Whether a session has ended by its own renewal only, and so lately that the answer may have been lost on its way. What asks again is
 * given the token of the same successor, so that it makes no difference how often it asks, and nothing is ended by it; and only while
 * that successor was not used, since whoever uses it has it.
 *
 * RFC 9700 section 4.14.2 wants refresh tokens to be bound to their client's key, or else to be rotated with the family revoked when an
 * old one turns up. Ours are bound (RFC 9449): it is the key that stops a thief, and the old token alone gets nothing here. A session
 * that somebody ended is not one that was replaced, and has no grace; nor has one whose successor was ended.
 */
export function mayAskAgain({ replacedBy, revokedAt }: SessionRecord, now: number): boolean {
  return replacedBy !== undefined && revokedAt !== undefined && now - revokedAt < RENEWAL_GRACE_MS;
}

/** Whether a session is what an answer that was lost would have brought: it works, and nobody has used it. */
export function isUntouched({ revokedAt, lastUsedAt, expiresAt }: SessionRecord, now: number): boolean {
  return revokedAt === undefined && lastUsedAt === undefined && expiresAt > now;
}
