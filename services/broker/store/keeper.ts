import { type Clock, DAY, HOUR } from "@agentkeys/lib/clock";
import type { Logger } from "@agentkeys/lib/log";

import type { Repositories } from "./index.ts";

export interface Keeper {
  /** One round. What fails is logged and left for the next one, and stops nothing else. */
  readonly tidy: () => Promise<void>;
  /** No further round begins; resolves when the one under way is over. */
  readonly stop: () => Promise<void>;
}

export interface KeeperOptions {
  store: Pick<
    Repositories,
    "logins" | "oauthRequests" | "passkeyChallenges" | "challenges" | "sessions" | "notices" | "audit"
  >;
  /** How long an account's history is kept, in milliseconds. */
  historyMs: number;
  /** What else is done each time: steps of the rotation of keys, mails that wait. */
  also: readonly (() => Promise<void>)[];
  clock: Clock;
  log: Logger;
  everyMs: number;
}

/** Sign-ins that nobody finished are of use to nobody for longer: anyone can start them, in anybody's name. */
const UNOWNED_HISTORY_MS = 30 * DAY;
const EVENTS_AT_A_TIME = 1000;
const BATCHES_A_ROUND = 10;

/**
 * Forgets what has expired, and rotates keys when they are due. Sign-ins and challenges are kept for an hour more, so that
 * whoever comes late is told "expired" and not "unknown"; sessions for a day, longer than the clock of anyone may be behind
 * who still accepts their tokens.
 */
export function createKeeper({ store, historyMs, also, clock, log, everyMs }: KeeperOptions): Keeper {
  const chores = [
    ...also,
    () => store.logins.purge(clock() - HOUR),
    () => store.oauthRequests.purge(clock() - HOUR),
    () => store.passkeyChallenges.purge(clock() - HOUR),
    () => store.notices.purge(clock() - HOUR),
    () => store.challenges.purge(clock() - HOUR),
    () => store.sessions.purge(clock() - DAY),
    () => forgetHistory(store.audit, clock(), historyMs),
  ];
  const round = async (): Promise<void> => {
    for (const chore of chores) {
      try {
        await chore();
      } catch (error) {
        log.error({ err: error }, "tidying up failed; it is tried again");
      }
    }
  };
  let last = Promise.resolve();
  const tidy = (): Promise<void> => (last = last.then(round));
  const timer = setInterval(() => void tidy(), everyMs);
  timer.unref();
  return {
    tidy,
    stop: () => {
      clearInterval(timer);
      return last;
    },
  };
}

/** In small steps, between which others get at the store; what is too much for one round is left for the next. */
async function forgetHistory(audit: Repositories["audit"], now: number, historyMs: number): Promise<void> {
  const unownedTime = now - Math.min(UNOWNED_HISTORY_MS, historyMs);
  for (let batch = 0; batch < BATCHES_A_ROUND; batch++) {
    if ((await audit.purge(now - historyMs, unownedTime, EVENTS_AT_A_TIME)) < EVENTS_AT_A_TIME) return;
  }
}
