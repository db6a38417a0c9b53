import type { Clock } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

/** How often something may happen. */
export interface Allowance {
  times: number;
  seconds: number;
}

/**
 * Counts by key: `times` at once, and then one more each time its part of `seconds` has passed (the generic cell rate algorithm).
 * One number is kept for each key that is not at rest. `what` is in the words of the refusal.
 * @returns what throws Failure RATE_LIMITED when it is one too many.
 */
export function createRateLimit(
  { times, seconds }: Allowance,
  clock: Clock,
  what = "signatures",
): (key: string) => void {
  const window = seconds * 1000;
  const interval = window / times;
  /** When each key will be at rest again. Insertion order is close to that of these times. */
  const busyUntil = new Map<string, number>();

  return (key) => {
    const now = clock();
    for (const [old, until] of busyUntil) {
      if (until > now) break;
      busyUntil.delete(old);
    }
    const known = busyUntil.get(key) ?? now;
    // Further ahead than it can be: the clock was put back.
    const until = (known < now || known > now + window ? now : known) + interval;
    // Half a millisecond for what fractions do not add up to.
    if (until > now + window + 0.5) {
      throw new Failure(ErrorReason.RATE_LIMITED, `too many ${what} were asked for; try again shortly`, {
        retryAfterMs: Math.ceil(until - now - window),
      });
    }
    busyUntil.delete(key);
    busyUntil.set(key, until);
  };
}
