import { DAY, HOUR, MINUTE } from "@agentkeys/lib/clock";

/** What the rules need to know of a key. */
export interface KeyTimes {
  kid: string;
  /** When it was made, and published. */
  createdAt: number;
  /** From when it signs, until the next one does. */
  activeFrom: number;
}

/** How long keys live; all in milliseconds. */
export interface RotationPolicy {
  /** A key signs for this long. */
  rotateEveryMs: number;
  /** A new key is published for this long before it signs: longer than any relying party caches the key set. */
  publishAheadMs: number;
  /** A key that no longer signs stays published for this long: longer than any token by it is accepted. */
  keepAfterMs: number;
}

/**
 * Rotation of the OIDC keys (AWS caches a key set; how long is not documented) and of the session keys (ours cache 5
 * minutes). `keepAfterMs` covers the longest life of a token by that key, with AWS's grace of 5 minutes and clock skew.
 */
export const rotation = {
  oidc: { rotateEveryMs: 90 * DAY, publishAheadMs: 2 * DAY, keepAfterMs: 15 * MINUTE },
  session: { rotateEveryMs: 90 * DAY, publishAheadMs: HOUR, keepAfterMs: 12 * HOUR + 10 * MINUTE },
} satisfies Record<string, RotationPolicy>;

/** What to do now so that the rules hold. */
export interface RotationStep {
  /** Make a key that signs from this time on. */
  create?: { activeFrom: number };
  /** Forget these keys. */
  drop: string[];
}

/**
 * The rotation rules as a pure function of the keys there are and the time. A key never signs before it was published for
 * `publishAheadMs`, but for the very first, which nobody can have cached anything against; a key is dropped only when its
 * successor has signed for `keepAfterMs`; the set is never empty.
 */
export function nextRotationStep(keys: readonly KeyTimes[], now: number, policy: RotationPolicy): RotationStep {
  const newest = byActivation(keys)[0];
  if (newest === undefined) return { create: { activeFrom: now }, drop: [] };
  const due = newest.activeFrom + policy.rotateEveryMs - policy.publishAheadMs <= now;
  const create = due ? { create: { activeFrom: now + policy.publishAheadMs } } : {};
  const drop = keys.filter((key) => {
    const successor = byActivation(keys)
      .filter((other) => other.activeFrom > key.activeFrom && other.activeFrom <= now)
      .at(-1);
    return successor !== undefined && successor.activeFrom + policy.keepAfterMs <= now;
  });
  return { ...create, drop: drop.map((key) => key.kid) };
}

/**
 * The key that signs now: the one that became active last. A first key that was made while the clock ran ahead signs although
 * its time is yet to come: there is no other.
 */
export function signingKey<K extends KeyTimes>(keys: readonly K[], now: number): K | undefined {
  const newestFirst = byActivation(keys);
  return newestFirst.find((key) => key.activeFrom <= now) ?? newestFirst.at(-1);
}

/** In the order of publication: the one that signs first (some relying parties look no further), then the others, newest first. */
export function publicationOrder<K extends KeyTimes>(keys: readonly K[], now: number): K[] {
  const current = signingKey(keys, now);
  return byActivation(keys).sort((a, b) => Number(b === current) - Number(a === current));
}

function byActivation<K extends KeyTimes>(keys: readonly K[]): K[] {
  return [...keys].sort((a, b) => b.activeFrom - a.activeFrom || (a.kid < b.kid ? -1 : 1));
}
