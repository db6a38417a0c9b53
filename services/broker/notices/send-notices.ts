import { createHash } from "node:crypto";

import type { Clock } from "@agentkeys/lib/clock";
import type { Logger } from "@agentkeys/lib/log";
import { type RandomBytes, randomSecret } from "@agentkeys/lib/random";
import { Secret } from "@agentkeys/lib/secret";

import { type Mailer, noticeMail } from "../mail/index.ts";
import type { Notice, NoticeStore } from "./store.ts";

export interface SendParts {
  notices: NoticeStore;
  mailer: Mailer;
  publicUrl: () => string;
  clock: Clock;
  random: RandomBytes;
  log: Logger;
}

const BATCH = 50;

/** What the store keeps of the secret in a notice's link: its SHA-256 in hex. */
export function hashOfToken(token: string): string {
  return createHash("sha256").update(token, "utf8").digest("hex");
}

/**
 * Sends the mails that wait, fifty at the most; says whether others may wait behind them. One that cannot be sent waits for the next
 * round, with a new link then: the secret is never stored. Gives up on those whose link would have expired.
 */
export async function sendNotices(
  { notices, mailer, publicUrl, clock, random, log }: SendParts,
  stopping: AbortSignal,
): Promise<boolean> {
  const waiting = await notices.listUnsent(BATCH);
  let failed = 0;
  for (const notice of waiting) {
    if (stopping.aborted) break;
    if (notice.expiresAt <= clock()) continue;
    const token = randomSecret(random);
    await notices.setToken(notice.noticeId, hashOfToken(token));
    try {
      await mailer.send(await noticeMail(mailFacts(notice), new Secret(`${publicUrl()}/notice#${token}`)));
      await notices.markSent(notice.noticeId, clock());
    } catch (error) {
      failed++;
      log.warn({ err: error, notice: notice.noticeId }, "a notice could not be mailed; it is tried again");
    }
  }
  return waiting.length === BATCH && failed === 0;
}

function mailFacts({ kind, subject, recipientEmail, sourceAddress, occurredAt }: Notice) {
  return { kind, subject, email: recipientEmail, sourceAddress, occurredAt };
}
