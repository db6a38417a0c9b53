import { expect, test } from "vitest";

import { ErrorReason } from "../failure.ts";
import { createRevocationCache } from "./revocation.ts";

const setUp = () => {
  const state = { now: 0, list: [] as string[], down: false, asked: 0 };
  const isRevoked = createRevocationCache({
    clock: () => state.now,
    fetchRevoked: () => {
      state.asked++;
      return state.down ? Promise.reject(new Error("down")) : Promise.resolve(state.list);
    },
  });
  return { state, isRevoked };
};
const unavailable = expect.objectContaining({ reason: ErrorReason.BROKER_UNAVAILABLE }) as unknown;

test("a revoked session is known within 10 seconds, and the broker is asked once for many calls", async () => {
  const { state, isRevoked } = setUp();
  expect(await Promise.all(["a", "b", "c"].map(isRevoked))).toEqual([false, false, false]);
  expect(state.asked).toBe(1);
  state.list = ["a"];
  state.now = 3_999;
  expect(await isRevoked("a")).toBe(false);
  state.now = 4_000;
  expect([await isRevoked("a"), await isRevoked("b")]).toEqual([true, false]);
});

test("a broker that is down for a moment does not stop those that are known; after 10 seconds nobody passes", async () => {
  const { state, isRevoked } = setUp();
  await isRevoked("a");
  state.down = true;
  state.now = 9_999;
  expect(await isRevoked("a")).toBe(false);
  state.now = 10_000;
  await expect(isRevoked("a")).rejects.toEqual(unavailable);
  state.down = false;
  expect(await isRevoked("a")).toBe(false);
});

test("a clock that is put back makes no old list fresh", async () => {
  const { state, isRevoked } = setUp();
  state.now = 3_600_000;
  await isRevoked("a");
  state.list = ["a"];
  state.now = 0;
  expect(await isRevoked("a")).toBe(true);
});

test("a broker that was never reached lets nobody pass", async () => {
  const { state, isRevoked } = setUp();
  state.down = true;
  await expect(isRevoked("a")).rejects.toEqual(unavailable);
});
