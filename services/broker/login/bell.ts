/** Wakes those who wait for a sign-in in this process; those in another replica look into the store once a second. */
export interface Bell {
  ring(loginId: string): void;
  /** Resolves when it rings for `loginId`, after `ms`, when `signal` aborts, or when the bell is closed. */
  wait(loginId: string, ms: number, signal: AbortSignal): Promise<void>;
  readonly closed: boolean;
  /** Wakes everybody, for good. */
  close(): void;
}

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
        if (closed || signal.aborted) {
          resolve();
          return;
        }
        const sleepers = waiting.get(loginId) ?? new Set();
        const done = (): void => {
          clearTimeout(timer);
          signal.removeEventListener("abort", done);
          sleepers.delete(done);
          if (sleepers.size === 0) waiting.delete(loginId);
          resolve();
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
