import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

/** Lets work through one after the other, and not as much as everybody would like. */
export interface Turnstile {
  /** Does `work` when its turn comes. @throws Failure RATE_LIMITED, what `work` throws */
  pass<T>(source: string, work: () => Promise<T>): Promise<T>;
}

export interface TurnstileOptions {
  clock: Clock;
  /** Resolves after so many milliseconds. */
  sleep: (ms: number) => Promise<void>;
  /** How often one source may pass in a minute. */
  perMinute: number;
  /** How many of one source, and how many in all, may wait at a time. */
  waiting: { ofOne: number; ofAll: number };
}

/** The longest rest, in milliseconds, whatever the clock says that the work took: it may have been put forward. */
const LONGEST_REST = 10_000;

/** Sources that are counted one by one in a minute; whoever comes after that many shares one count with the others. */
const MAX_SOURCES = 10_000;

/**
 * One piece of work at a time, and after each as long a rest as it took, to ten seconds: whoever asks, and however often, what the work needs (a TPM, which
 * has other things to do) is free half of the time.
 */
export function createTurnstile({ clock, sleep, perMinute, waiting }: TurnstileOptions): Turnstile {
  const queued = new Map<string, number>();
  let inAll = 0;
  let last: Promise<unknown> = Promise.resolve();
  let window = { begins: -Infinity, passed: new Map<string, number>() };

  /** @throws Failure RATE_LIMITED */
  const count = (source: string): void => {
    const now = clock();
    if (now - window.begins >= MINUTE || now < window.begins) window = { begins: now, passed: new Map() };
    const { passed } = window;
    const counted = passed.has(source) || passed.size < MAX_SOURCES ? source : "everybody else";
    const times = passed.get(counted) ?? 0;
    if (times >= perMinute) throw tooMany(window.begins + MINUTE - now);
    passed.set(counted, times + 1);
  };

  return {
    async pass(source, work) {
      const ofOne = queued.get(source) ?? 0;
      if (ofOne >= waiting.ofOne || inAll >= waiting.ofAll) throw tooMany(1000);
      count(source);
      queued.set(source, ofOne + 1);
      inAll += 1;
      let took = 0;
      const turn = last.then(async () => {
        const begun = clock();
        try {
          return await work();
        } finally {
          took = Math.min(Math.max(0, clock() - begun), LONGEST_REST);
        }
      });
      last = turn.then(
        () => sleep(took),
        () => sleep(took),
      );
      try {
        return await turn;
      } finally {
        inAll -= 1;
        const left = (queued.get(source) ?? 1) - 1;
        if (left === 0) queued.delete(source);
        else queued.set(source, left);
      }
    },
  };
}

function tooMany(retryAfterMs: number): Failure {
  return new Failure(ErrorReason.RATE_LIMITED, "too many ask for evidence; try again in a moment", { retryAfterMs });
}
