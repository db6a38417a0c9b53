import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { HOUR, MINUTE } from "@agentkeys/lib/clock";

import { Problem, type ProblemKind } from "../problem.ts";
import { credentialsOf } from "../testing/credentials.ts";
import { isUsable, refreshTime } from "./aws-credentials.ts";
import {
  firstRefresh,
  MIN_WAIT_MS,
  next,
  type RefreshEvent,
  type RefreshState,
  retryDelayMs,
  view,
} from "./refresh.ts";

const NOW = Date.UTC(2030, 0, 1);

/** Anything that can happen, `after` milliseconds after what happened before it. */
const happening = fc.record({
  after: fc.integer({ min: 0, max: 2 * HOUR }),
  event: fc.oneof(
    fc.constant({ type: "woke" } as const),
    fc.boolean().map((sameAccount) => ({ type: "enrolment-changed", sameAccount }) as const),
    fc.integer({ min: 0, max: 12 * HOUR }).map((life) => ({ type: "obtained", life }) as const),
    fc
      .record({
        reason: fc.constantFrom(
          "BROKER_UNREACHABLE",
          "SESSION_REVOKED",
          "NOT_SIGNED_IN",
          "STS_REFUSED",
          "WALLET_CHANGED",
        ),
        delayMs: fc.integer({ min: 0, max: HOUR }),
      })
      .map(({ reason, delayMs }) => ({ type: "failed", reason, delayMs }) as const),
  ),
});

interface Moment {
  before: RefreshState;
  event: RefreshEvent;
  after: RefreshState;
  now: number;
}

function lifeOf(story: readonly (typeof happening extends fc.Arbitrary<infer T> ? T : never)[]): Moment[] {
  let now = NOW;
  let state: RefreshState = firstRefresh;
  return story.map(({ after, event: told }) => {
    now += after;
    const event: RefreshEvent =
      told.type === "obtained"
        ? { type: "obtained", credentials: credentialsOf(now, told.life) }
        : told.type === "failed"
          ? {
              type: "failed",
              delayMs: told.delayMs,
              trouble: { reason: told.reason, kind: "passing", text: told.reason },
            }
          : told;
    const before = state;
    state = next(state, event, now);
    return { before, event, after: state, now };
  });
}

const always = (holds: (moment: Moment) => void): void =>
  fc.assert(fc.property(fc.array(happening, { maxLength: 40 }), (story) => lifeOf(story).forEach(holds)));

describe("whatever happens", () => {
  test("it never stands still: a refresh is under way, or one is due in the future", () => {
    always(({ before, event, after, now }) => {
      if (after.at === "waiting" && event.type !== "woke" && before.at === "refreshing") {
        expect(after.wakeAt).toBeGreaterThanOrEqual(now + MIN_WAIT_MS);
      }
      if (after.at === "waiting" && event.type === "woke") expect(after.wakeAt).toBeGreaterThan(now);
    });
  });

  test("what is handed out can still be used", () => {
    always(({ after, now }) => {
      const offer = view(after, now);
      if ("credentials" in offer) expect(isUsable(offer.credentials, now)).toBe(true);
      else expect(offer.trouble.reason).not.toBe("");
    });
  });

  test("credentials of one account are never kept for another", () => {
    always(({ event, after }) => {
      if (event.type === "enrolment-changed" && !event.sameAccount) expect(after.credentials).toBeUndefined();
    });
  });

  test("credentials fetched under an enrolment that has changed since are not kept", () => {
    always(({ before, event, after }) => {
      if (before.at === "refreshing" && before.again && event.type === "obtained") {
        expect(after).toMatchObject({ at: "refreshing", again: false });
        expect(after.credentials).toBe(before.credentials);
      }
    });
  });

  test("two refreshes are never under way at once", () => {
    always(({ before, event, after }) => {
      // A new one is started when the state changes to one that wants none afterwards.
      const started = after !== before && after.at === "refreshing" && !after.again;
      if (started && before.at === "refreshing") expect(["obtained", "failed"]).toContain(event.type);
    });
  });

  test("a failure never takes away credentials that work, unless somebody meant this machine to stop", () => {
    always(({ before, event, after }) => {
      if (event.type !== "failed" || before.at === "waiting") return;
      const ends = ["SESSION_REVOKED", "NOT_SIGNED_IN", "WALLET_CHANGED"].includes(event.trouble.reason);
      if (!ends || before.again) expect(after.credentials).toBe(before.credentials);
      else expect(after.credentials).toBeUndefined();
    });
  });
});

describe("credentials", () => {
  test.each([
    ["an hour", HOUR, 40 * MINUTE],
    ["twelve hours", 12 * HOUR, 12 * HOUR - 20 * MINUTE],
    ["a quarter of an hour", 15 * MINUTE, 7.5 * MINUTE],
  ])("that live %s are replaced in time", (_, lifeMs, afterMs) => {
    expect(refreshTime(credentialsOf(NOW, lifeMs))).toBe(NOW + afterMs);
    const state = next(firstRefresh, { type: "obtained", credentials: credentialsOf(NOW, lifeMs) }, NOW);
    expect(next(state, { type: "woke" }, NOW + afterMs - 1).at).toBe("waiting");
    expect(next(state, { type: "woke" }, NOW + afterMs).at).toBe("refreshing");
  });

  test("are not handed out in the last moments of their life", () => {
    const state = next(firstRefresh, { type: "obtained", credentials: credentialsOf(NOW, HOUR) }, NOW);
    expect(view(state, NOW + HOUR - MINUTE)).toHaveProperty("credentials");
    expect(view(state, NOW + HOUR - 1)).toHaveProperty("trouble");
  });
});

describe("after a failure", () => {
  const delays = (kind: ProblemKind, random: number, retryAfterMs?: number): number[] =>
    [0, 1, 2, 10, 1000].map((failures) => {
      const problem = new Problem("X", kind, "x", retryAfterMs === undefined ? {} : { retryAfterMs });
      return retryDelayMs(problem, failures, (length) => new Uint8Array(length).fill(random));
    });

  test("what passes by itself is tried again within seconds, then within a minute at the latest", () => {
    expect(delays("passing", 0)).toEqual([500, 1000, 2000, 30_000, 30_000]);
    expect(delays("passing", 255)).toEqual([1000, 2000, 4000, 60_000, 60_000]);
  });

  test("what needs somebody is looked at every few minutes", () => {
    expect(delays("sign-in", 255)).toEqual([30_000, 60_000, 120_000, 300_000, 300_000]);
  });

  test("a server that says when to come back is heeded", () => {
    expect(delays("passing", 0, 120_000)).toEqual([120_000, 120_000, 120_000, 120_000, 120_000]);
  });
});
