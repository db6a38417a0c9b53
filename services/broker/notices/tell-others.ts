import type { OmniAccount } from "@agentkeys/lib/account";
import { type Clock, DAY } from "@agentkeys/lib/clock";
import { type RandomBytes, randomId } from "@agentkeys/lib/random";

import type { Caller } from "../audit/index.ts";
import type { Email, Identity, IdentityName, IdentityStore } from "../identity/index.ts";
import { unlinkable } from "../mail/index.ts";
import type { NoticeKind, NoticeStore } from "./store.ts";

/** How long "this was not me" can be pressed. */
export const NOTICE_LIFE_MS = 7 * DAY;

export interface News {
  kind: NoticeKind;
  /** What it was about: a machine's name, an identity's value. */
  subject: string;
  /** The identity that did it, whose owner needs no mail about it. */
  by: OmniAccount;
  /** The identity that is to blame if somebody says "this was not me". */
  reported: OmniAccount;
  /** Taken off the account by it: told too, since it may be the owner's. */
  removed?: Identity;
}

/**
 * How a notice names an identity. The name of a passkey is ours; that of an account at a provider is its owner's choice, who may be a
 * thief: it comes after the value, and is nothing that a mail program makes a link of.
 */
export function subjectOf({ type, value, displayName }: IdentityName): string {
  if (displayName === undefined) return value;
  return type === "passkey" ? displayName : `${value} (${unlinkable(displayName)})`;
}

/**
 * Writes a mail to every other identity of the account that can be told, in the transaction of what it tells of. The mails are
 * sent afterwards.
 */
export async function tellOthers(
  { identities, notices }: { identities: IdentityStore; notices: NoticeStore },
  { clock, random }: { clock: Clock; random: RandomBytes },
  anchor: OmniAccount,
  news: News,
  caller: Caller,
): Promise<void> {
  const now = clock();
  const linked = await identities.listOf(anchor);
  const all = news.removed === undefined ? linked : [...linked, news.removed];
  for (const { type, omniAccount, value, suspendedAt } of all) {
    if (type !== "email" || omniAccount === news.by || suspendedAt !== undefined) continue;
    await notices.insert({
      noticeId: randomId(random),
      anchor,
      recipient: omniAccount,
      recipientEmail: value as Email,
      kind: news.kind,
      subject: news.subject,
      sourceAddress: caller.sourceAddress,
      reported: news.reported,
      ...(news.removed?.omniAccount === omniAccount && { removed: news.removed }),
      occurredAt: now,
      expiresAt: now + NOTICE_LIFE_MS,
    });
  }
}
