/** Wakes those who wait for a sign-in in this process; those in another replica look into the store once a second. */
export interface Bell {
  ring(loginId: string): void;
  /**
   * Resolves with true when it rings for `loginId` or after `ms`; with false when waiting has no use: `signal` has aborted, the bell
   * is closed, or as many wait for this sign-in already as have reason to.
   */
  wait(loginId: string, ms: number, signal: AbortSignal): Promise<boolean>;
  readonly closed: boolean;
  /** Wakes everybody, for good. */
  close(): void;
}

/** The program that started a sign-in, and itself again after its connection broke. */
const MAX_WAITING = 3;

export function createBell(): Bell {
  const waiting = new Map<string, Set<() => void>>();
  let closed = false;
  const wake = (loginId: string): void => waiting.get(loginId)?.forEach((wakeUp) => wakeUp());
  return {
    ring: wake,
    get closed() {
      return closed;
    },
    wait: (loginId, ms, signal) =>
      new Promise((resolve) => {
        const sleepers = waiting.get(loginId) ?? new Set();
        if (closed || signal.aborted || sleepers.size >= MAX_WAITING) {
          resolve(false);
          return;
        }
        const done = (): void => {
          clearTimeout(timer);
          signal.removeEventListener("abort", done);
          sleepers.delete(done);
          if (sleepers.size === 0) waiting.delete(loginId);
          resolve(!closed && !signal.aborted);
        };
        const timer = setTimeout(done, ms);
        signal.addEventListener("abort", done);
        waiting.set(loginId, sleepers.add(done));
      }),
    close: () => {
      closed = true;
      for (const loginId of [...waiting.keys()]) wake(loginId);
    },
  };
}
