import type { Clock } from "@agentkeys/lib/clock";

import type { Sleep } from "../io.ts";

/** A clock that stands still until it is moved, and sleepers who wake by it. */
export interface VirtualTime {
  clock: Clock;
  sleep: Sleep;
  /** Moves on by `ms`, waking whoever is due on the way, in order. */
  advance(ms: number): Promise<void>;
  /** Moves on by `ms` without waking anybody: timers stand still in a machine that sleeps. */
  oversleep(ms: number): void;
  /** Lets everything happen that happens without time passing. */
  settle(): Promise<void>;
}

export function createVirtualTime(start = Date.UTC(2030, 0, 1)): VirtualTime {
  let now = start;
  let sleepers: { at: number; wake: () => void }[] = [];

  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    clock: () => now,
    settle,
    oversleep: (ms) => void (now += ms),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true) {
          resolve();
          return;
        }
        const wake = (): void => {
          sleepers = sleepers.filter((other) => other !== sleeper);
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        const sleeper = { at: now + ms, wake };
        sleepers.push(sleeper);
        signal?.addEventListener("abort", wake);
      }),
    async advance(ms) {
      const end = now + ms;
      await settle();
      for (;;) {
        const due = sleepers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        now = Math.max(now, due.at);
        due.wake();
        await settle();
      }
      now = end;
      await settle();
    },
  };
}
