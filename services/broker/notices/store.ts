import type { OmniAccount } from "@agentkeys/lib/account";

import type { Email, Identity } from "../identity/index.ts";

/** What an account's other identities are told of. */
export type NoticeKind = "machine" | "linked" | "unlinked" | "merged" | "frozen" | "unfrozen";

/** A mail to one identity's owner about what happened to the account. Its link is here as a SHA-256 hash only, once it was sent. */
export interface Notice {
  noticeId: string;
  anchor: OmniAccount;
  /** Who is told. */
  recipient: OmniAccount;
  recipientEmail: Email;
  kind: NoticeKind;
  /** What it was about: a machine's name, an identity's value. */
  subject: string;
  sourceAddress: string;
  /** The identity that is to blame if its recipient says "this was not me". */
  reported: OmniAccount;
  /** The recipient itself, where it was taken off the account: a report puts it back. */
  removed?: Identity;
  occurredAt: number;
  expiresAt: number;
}

export interface NoticeStore {
  insert(notice: Notice): Promise<void>;
  /** Those that were not sent yet, the oldest first. */
  listUnsent(count: number): Promise<Notice[]>;
  /** Notes the hash of the secret in the mail's link, before the mail is sent. */
  setToken(noticeId: string, tokenHash: string): Promise<void>;
  markSent(noticeId: string, now: number): Promise<void>;
  /** The notice behind a link that was not used and has not expired. */
  findByToken(tokenHash: string, now: number): Promise<Notice | undefined>;
  /** Uses up its link: true for exactly one caller. */
  spend(noticeId: string, now: number): Promise<boolean>;
  /** Forgets those that expired before `time`; returns how many. */
  purge(time: number): Promise<number>;
}
