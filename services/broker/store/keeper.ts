import { type Clock, DAY, HOUR } from "@agentkeys/lib/clock";
import type { Logger } from "@agentkeys/lib/log";

import type { BrokerStore } from "./index.ts";

export interface Keeper {
  /** One round. Failures are logged and left for the next one. */
  readonly tidy: () => Promise<void>;
  readonly stop: () => void;
}

/**
 * Forgets what has expired, and rotates keys when they are due. Sign-ins and challenges are kept for an hour more, so that
 * whoever comes late is told "expired" and not "unknown"; sessions for a day, for the list of what was.
 */
export function createKeeper({
  store,
  rotate,
  clock,
  log,
  everyMs,
}: {
  store: BrokerStore;
  rotate: readonly (() => Promise<void>)[];
  clock: Clock;
  log: Logger;
  everyMs: number;
}): Keeper {
  const tidy = async (): Promise<void> => {
    try {
      const now = clock();
      await store.logins.purge(now - HOUR);
      await store.challenges.purge(now - HOUR);
      await store.sessions.purge(now - DAY);
      for (const step of rotate) await step();
    } catch (error) {
      log.error({ err: error }, "tidying up failed; it is tried again");
    }
  };
  const timer = setInterval(() => void tidy(), everyMs);
  timer.unref();
  return { tidy, stop: () => clearInterval(timer) };
}
