import type { OmniAccount } from "@agentkeys/lib/account";
import { MINUTE } from "@agentkeys/lib/clock";

import { type BrowserParts, endOf, formTokenOf, hashOfCookie } from "./parts.ts";

/** A browser that is signed in. */
export interface BrowserSession {
  id: string;
  anchor: OmniAccount;
  /** That signed in. */
  identity: OmniAccount;
  signedInAt: number;
  /** When the person last proved who they are. */
  provenAt: number;
  /** Since when the account is frozen: the session may look at it and put it right, and nothing else. */
  frozenAt?: number;
  /** Of the cookie that it was opened with: it may have another one by the time that something is done. */
  cookieHash: string;
  /** To be found in every form that this session sends. Secret. */
  formToken: string;
}

/** The live session behind a cookie, if there is one; notes that it is used, which puts its end off. */
export async function openBrowserSession(
  { sessions, accounts, clock }: BrowserParts,
  cookie: string,
): Promise<BrowserSession | undefined> {
  const cookieHash = hashOfCookie(cookie);
  const record = await sessions.findByCookie(cookieHash);
  const now = clock();
  if (record?.identity === undefined || record.revokedAt !== undefined || record.expiresAt <= now) return undefined;
  const { sessionId: id, anchor, identity, signedInAt, provenAt } = record;
  // A page load now and then is enough to keep it: the store is not written for each.
  if (now - (record.lastUsedAt ?? record.createdAt) >= MINUTE) await sessions.extend(id, endOf(signedInAt, now), now);
  // As the account stands now, not as it stood at the sign-in: nothing about it is written into the cookie.
  const frozenAt = (await accounts.find(anchor))?.frozenAt;
  return {
    id,
    anchor,
    identity,
    signedInAt,
    provenAt,
    cookieHash,
    formToken: formTokenOf(cookie),
    ...(frozenAt !== undefined && { frozenAt }),
  };
}
