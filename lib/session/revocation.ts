import type { Clock } from "../clock.ts";
import { ErrorReason, Failure } from "../failure.ts";

export interface RevocationCacheOptions {
  /** Asks the broker for the ids of all revoked sessions that have not expired. */
  fetchRevoked: () => Promise<readonly string[]>;
  clock: Clock;
  /** A list younger than this, in milliseconds, is used without asking again. Default 4 s. */
  maxAgeMs?: number;
  /** A list older than this is not used even when no newer one can be had. Default 10 s: what the contract promises. */
  staleMs?: number;
}

/**
 * Tells whether a session was revoked, from a list that is at most `staleMs` old. When the broker cannot be asked and the
 * list is older than that, nobody can tell, and so nobody passes: BROKER_UNAVAILABLE.
 */
export function createRevocationCache({
  fetchRevoked,
  clock,
  maxAgeMs = 4_000,
  staleMs = 10_000,
}: RevocationCacheOptions): (sessionId: string) => Promise<boolean> {
  let list: { ids: ReadonlySet<string>; asOf: number } | undefined;
  let underWay: Promise<void> | undefined;

  const refresh = async (): Promise<void> => {
    // The time before the question: what was revoked while the answer travelled is not in it.
    const asOf = clock();
    list = { ids: new Set(await fetchRevoked()), asOf };
  };

  /** A list from the future was fetched before the clock was put back: nobody knows how old it is. */
  const younger = (known: typeof list, ms: number): boolean => {
    const age = known === undefined ? Infinity : clock() - known.asOf;
    return age >= 0 && age < ms;
  };

  return async (sessionId) => {
    if (!younger(list, maxAgeMs)) {
      underWay ??= refresh().finally(() => (underWay = undefined));
      try {
        await underWay;
      } catch (error) {
        if (!younger(list, staleMs)) {
          throw new Failure(
            ErrorReason.BROKER_UNAVAILABLE,
            "the broker cannot be asked whether the session was revoked; try again shortly",
            { retryAfterMs: 2_000, cause: error },
          );
        }
      }
    }
    return list?.ids.has(sessionId) ?? true;
  };
}
