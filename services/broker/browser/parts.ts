import { createHash, createHmac } from "node:crypto";

import { HOUR, MINUTE } from "@agentkeys/lib/clock";

import type { AccountStore } from "../identity/index.ts";
import type { LoginParts } from "../login/index.ts";
import type { SessionStore } from "../token/index.ts";

/** What browsers' sessions are made of. */
export interface BrowserParts extends LoginParts {
  sessions: SessionStore;
  accounts: AccountStore;
}

/** How long a browser stays signed in, in milliseconds, whatever it does. */
export const BROWSER_LIFE_MS = 12 * HOUR;
/** And without doing anything. */
export const BROWSER_IDLE_MS = 30 * MINUTE;

/** When a session that is used now ends, if it is not used again. */
export function endOf(signedInAt: number, now: number): number {
  return Math.min(signedInAt + BROWSER_LIFE_MS, now + BROWSER_IDLE_MS);
}

/** What the store keeps of a cookie of 256 random bits: its SHA-256 in hex. */
export function hashOfCookie(cookie: string): string {
  return createHash("sha256").update(cookie, "utf8").digest("hex");
}

/** What every form of the session's pages carries: made from the cookie, so that nothing has to be kept, and gone with it. */
export function formTokenOf(cookie: string): string {
  return createHmac("sha256", cookie).update("agentkeys account form").digest("base64url");
}
