import fc from "fast-check";
import { expect, test } from "vitest";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { type LoginEvent, next } from "./state-machine.ts";
import type { LoginStatus } from "./store.ts";

const event = fc.constantFrom<LoginEvent>("identify", "confirm", "prove", "refuse", "collect");
const history = fc.array(fc.record({ event, pause: fc.integer({ min: 0, max: 400_000 }) }), { maxLength: 30 });

/** Plays events against one sign-in of 15 minutes, and tells which of them led somewhere. */
function play(method: keyof typeof courses, events: readonly { event: LoginEvent; pause: number }[]) {
  let status: LoginStatus = "pending";
  let now = 0;
  const done: { event: LoginEvent; at: number }[] = [];
  for (const { event, pause } of events) {
    now += pause;
    const outcome = next({ status, method, expiresAt: 900_000 }, event, now);
    if (outcome instanceof Failure) continue;
    status = outcome;
    done.push({ event, at: now });
  }
  return { status, done };
}

/** Every course that a sign-in may take. */
const courses = {
  email: [[], ["confirm"], ["refuse"], ["confirm", "collect"]],
  oauth2: [
    [],
    ["refuse"],
    ["identify"],
    ["identify", "refuse"],
    ["identify", "confirm"],
    ["identify", "confirm", "collect"],
  ],
  passkey: [[], ["refuse"], ["prove"], ["prove", "collect"]],
  wallet: [[], ["refuse"], ["prove"], ["prove", "collect"]],
};

test("whatever people press and programs ask, at most one session is collected, and only after a confirmation in time", () => {
  fc.assert(
    fc.property(history, fc.constantFrom(...(Object.keys(courses) as (keyof typeof courses)[])), (events, method) => {
      const { done } = play(method, events);
      const names = done.map(({ event }) => event);
      expect(courses[method]).toContainEqual(names);
      for (const { at } of done) expect(at).toBeLessThan(900_000);
    }),
  );
});

test("each end says why", () => {
  const reason = (status: LoginStatus, event: LoginEvent, now = 0) => {
    const outcome = next({ status, method: "email", expiresAt: 10 }, event, now);
    return outcome instanceof Failure ? ErrorReason[outcome.reason] : outcome;
  };
  expect(reason("pending", "collect")).toBe("LOGIN_PENDING");
  expect(reason("pending", "collect", 10)).toBe("LOGIN_EXPIRED");
  expect(reason("confirmed", "collect", 10)).toBe("LOGIN_EXPIRED");
  expect(reason("refused", "collect", 10)).toBe("LOGIN_REFUSED");
  expect(reason("collected", "collect")).toBe("LOGIN_NOT_FOUND");
  expect(reason("confirmed", "refuse")).toBe("LOGIN_NOT_FOUND");
});
