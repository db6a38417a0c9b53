import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { DAY, HOUR, MINUTE } from "@agentkeys/lib/clock";

import { type KeyTimes, nextRotationStep, publicationOrder, type RotationPolicy, signingKey } from "./keyring.ts";

const policy: RotationPolicy = { rotateEveryMs: 90 * DAY, publishAheadMs: 2 * DAY, keepAfterMs: 13 * HOUR };

/** Lives through time in uneven steps, as a broker does that is up, down for weeks, and up again. */
function live(
  steps: readonly number[],
  check: (keys: KeyTimes[], now: number, published: Map<string, number>) => void,
) {
  let keys: KeyTimes[] = [];
  let now = 1_700_000_000_000;
  const published = new Map<string, number>();
  for (const step of [0, ...steps]) {
    now += step;
    const { create, drop } = nextRotationStep(keys, now, policy);
    if (create !== undefined) {
      const key = { kid: `k${published.size}`, createdAt: now, activeFrom: create.activeFrom };
      keys = [...keys, key];
      published.set(key.kid, now);
    }
    keys = keys.filter(({ kid }) => !drop.includes(kid));
    check(keys, now, published);
  }
}

const steps = fc.array(fc.integer({ min: MINUTE, max: 40 * DAY }), { maxLength: 60 });

describe("whatever time passes between two looks", () => {
  test("there is always a key to sign with, and it stands first in the published set", () => {
    fc.assert(
      fc.property(steps, (all) =>
        live(all, (keys, now) => {
          const current = signingKey(keys, now);
          expect(current).toBeDefined();
          expect(publicationOrder(keys, now)[0]).toBe(current);
        }),
      ),
    );
  });

  test("no key but the first signs before it was published long enough for every cache to have it", () => {
    fc.assert(
      fc.property(steps, (all) =>
        live(all, (keys, now, published) => {
          const current = signingKey(keys, now);
          if (current === undefined || current.kid === "k0") return;
          expect(now - (published.get(current.kid) ?? now)).toBeGreaterThanOrEqual(policy.publishAheadMs);
        }),
      ),
    );
  });

  test("a key that signed stays published until its last token has died", () => {
    fc.assert(
      fc.property(steps, (all) => {
        const lastSigned = new Map<string, number>();
        live(all, (keys, now) => {
          const current = signingKey(keys, now);
          if (current !== undefined) lastSigned.set(current.kid, now);
          for (const [kid, time] of lastSigned) {
            if (now - time < policy.keepAfterMs) expect(keys.map((key) => key.kid)).toContain(kid);
          }
        });
      }),
    );
  });

  test("keys do not pile up", () => {
    fc.assert(fc.property(steps, (all) => live(all, (keys) => expect(keys.length).toBeLessThanOrEqual(3))));
  });
});

test("a successor is published two days before the 90 are over", () => {
  const first = { kid: "a", createdAt: 0, activeFrom: 0 };
  expect(nextRotationStep([first], 87 * DAY, policy)).toEqual({ drop: [] });
  expect(nextRotationStep([first], 88 * DAY, policy)).toEqual({ create: { activeFrom: 90 * DAY }, drop: [] });
});

test("a clock that ran ahead when the first key was made, and is then set right, does not leave the broker without a key", () => {
  const first = { kid: "a", createdAt: 10 * DAY, activeFrom: 10 * DAY };
  const second = { kid: "b", createdAt: 98 * DAY, activeFrom: 100 * DAY };
  expect(signingKey([first], 0)).toBe(first);
  expect(signingKey([second, first], 0)).toBe(first);
  expect(publicationOrder([second, first], 0)).toEqual([first, second]);
  expect(nextRotationStep([first], 0, policy)).toEqual({ drop: [] });
});
