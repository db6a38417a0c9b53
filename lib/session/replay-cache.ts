/** Remembers what was used, for as long as it could be used again. */
export interface ReplayCache {
  /** True when `id` was not seen before; from then on it is, until `expiresAt` (epoch milliseconds). One step: no gap between look and note. */
  use(id: string, expiresAt: number, now: number): boolean;
}

/**
 * Keeps ids in memory: at most `capacity` of them, and when that many are alive a new one is refused, so that a flood cannot
 * push out the id that an attacker wants forgotten.
 */
export function createReplayCache(capacity = 200_000): ReplayCache {
  // Insertion order is close to expiry order, since all ids live equally long: the oldest are looked at first.
  const seen = new Map<string, number>();
  return {
    use(id, expiresAt, now) {
      for (const [old, until] of seen) {
        if (until > now) break;
        seen.delete(old);
      }
      const until = seen.get(id);
      if (until !== undefined && until > now) return false;
      if (seen.size >= capacity) return false;
      seen.delete(id);
      seen.set(id, expiresAt);
      return true;
    },
  };
}
