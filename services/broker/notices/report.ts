import type { OmniAccount } from "@agentkeys/lib/account";
import type { Clock } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { RandomBytes } from "@agentkeys/lib/random";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import { type AccountStore, type Identity, type IdentityStore, isDormant } from "../identity/index.ts";
import type { Limits } from "../limits/index.ts";
import type { SessionStore } from "../token/index.ts";
import { hashOfToken } from "./send-notices.ts";
import type { Notice, NoticeStore } from "./store.ts";
import { subjectOf, tellOthers } from "./tell-others.ts";

interface Stores {
  identities: IdentityStore;
  accounts: AccountStore;
  sessions: SessionStore;
  notices: NoticeStore;
  audit: AuditStore;
}

export interface ReportParts {
  notices: NoticeStore;
  transaction: <T>(work: (tx: Stores) => Promise<T>) => Promise<T>;
  limits: Limits;
  dormantAfterMs: number;
  clock: Clock;
  random: RandomBytes;
}

/** Shows what a mail told of, changing nothing. @throws Failure LOGIN_NOT_FOUND, RATE_LIMITED */
export async function reviewNotice(
  { notices, limits, clock }: ReportParts,
  token: string,
  caller: Caller,
): Promise<Notice> {
  const notice = await notices.findByToken(hashOfToken(token), clock());
  if (notice !== undefined) return notice;
  await limits.consume("wrongLinks", caller.sourceAddress);
  throw unknown();
}

/**
 * "This was not me": ends every session, freezes the account, suspends the identity that did it, and puts the recipient back if it
 * was taken off. An identity cannot have one suspended that was there before it, and a mailbox that was not used for long can have none: the
 * account is frozen all the same, for its owner to look at.
 */
export async function reportNotice(parts: ReportParts, token: string, caller: Caller): Promise<Notice> {
  const { transaction, clock, dormantAfterMs } = parts;
  const notice = await reviewNotice(parts, token, caller);
  const reported = await transaction(async (tx) => {
    const now = clock();
    if (!(await tx.notices.spend(notice.noticeId, now))) return false;
    // The account that it was about may have ended in another one since.
    const anchor = (await tx.accounts.find(notice.anchor))?.mergedInto ?? notice.anchor;
    const reporter = await reporterOf(tx, notice, anchor);
    if (reporter === undefined) return false;
    await tx.sessions.revokeAll(anchor, now);
    await tx.accounts.freeze(anchor, now);
    const all = await tx.identities.listOf(anchor);
    const position = (omniAccount: OmniAccount): number => all.findIndex((each) => each.omniAccount === omniAccount);
    const suspect = all[position(notice.reported)];
    const senior = suspect !== undefined && position(reporter.omniAccount) < position(suspect.omniAccount);
    if (senior && !isDormant(reporter, all, now, dormantAfterMs)) await tx.identities.suspend(suspect.omniAccount, now);
    await tx.audit.append(auditEvent(now, caller, { action: "account.frozen", anchor, subject: reporter.value }));
    const news = {
      kind: "frozen",
      subject: subjectOf(reporter),
      by: reporter.omniAccount,
      reported: reporter.omniAccount,
    } as const;
    await tellOthers(tx, parts, anchor, news, caller);
    return true;
  });
  if (!reported) throw unknown();
  return notice;
}

/** Who reports: an identity of the account still, or one that was taken off it and is put back by this. */
async function reporterOf(
  tx: Stores,
  { recipient, removed }: Notice,
  anchor: Identity["anchor"],
): Promise<Identity | undefined> {
  if (removed !== undefined && (await tx.identities.find(recipient)) === undefined) {
    await tx.identities.link(removed, anchor, removed);
  }
  return (await tx.identities.listOf(anchor)).find(({ omniAccount }) => omniAccount === recipient);
}

function unknown(): Failure {
  return new Failure(
    ErrorReason.LOGIN_NOT_FOUND,
    "this link is not one of ours, was used already, or is older than a week",
  );
}
