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
  store: Pick<Repositories, "logins" | "oauthRequests" | "passkeyChallenges" | "challenges" | "sessions" | "notices">;
  /** What else is done each time: steps of the rotation of keys, mails that wait. */
  also: readonly (() => Promise<void>)[];
  clock: Clock;
  log: Logger;
  everyMs: number;
}

/**
 * Forgets what has expired, and rotates keys when they are due. Sign-ins and challenges are kept for an hour more, so that
 * whoever comes late is told "expired" and not "unknown"; sessions for a day, longer than the clock of anyone may be behind
 * who still accepts their tokens.
 */
export function createKeeper({ store, also, clock, log, everyMs }: KeeperOptions): Keeper {
  const chores = [
    ...also,
    () => store.logins.purge(clock() - HOUR),
    () => store.oauthRequests.purge(clock() - HOUR),
    () => store.passkeyChallenges.purge(clock() - HOUR),
    () => store.notices.purge(clock() - HOUR),
    () => store.challenges.purge(clock() - HOUR),
    () => store.sessions.purge(clock() - DAY),
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
