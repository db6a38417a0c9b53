import { expect, test } from "vitest";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createTurnstile, type TurnstileOptions } from "./turnstile.ts";

/** A turnstile whose clock and rests are the test's. */
function make(options: Partial<TurnstileOptions> = {}) {
  const rests: { ms: number; end: () => void }[] = [];
  const time = { now: 0 };
  const turnstile = createTurnstile({
    clock: () => time.now,
    sleep: (ms) => new Promise((resolve) => rests.push({ ms, end: resolve })),
    perMinute: 1000,
    waiting: { ofOne: 100, ofAll: 100 },
    ...options,
  });
  return { turnstile, rests, time };
}

/** Lets everything happen that needs nobody. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Work that ends when it is told to. */
function held() {
  const state = { begun: false, end: (): void => undefined };
  const work = (): Promise<string> => {
    state.begun = true;
    return new Promise((resolve) => (state.end = () => resolve("done")));
  };
  return { state, work };
}

const limited = (error: unknown): boolean => error instanceof Failure && error.reason === ErrorReason.RATE_LIMITED;

test("one passes at a time, and the next after a rest as long as the work", async () => {
  const { turnstile, rests, time } = make();
  const [first, second] = [held(), held()];
  const passed = turnstile.pass("a", first.work);
  const next = turnstile.pass("b", second.work);
  await settled();
  expect([first.state.begun, second.state.begun]).toEqual([true, false]);

  time.now = 700;
  first.state.end();
  expect(await passed).toBe("done");
  await settled();
  expect(second.state.begun).toBe(false);
  expect(rests.map(({ ms }) => ms)).toEqual([700]);

  rests[0]?.end();
  await settled();
  expect(second.state.begun).toBe(true);
  second.state.end();
  expect(await next).toBe("done");
});

test("a clock that is put forward meanwhile makes nobody wait for it", async () => {
  const { turnstile, rests, time } = make();
  const { state, work } = held();
  const passed = turnstile.pass("a", work);
  await settled();
  time.now = 86_400_000;
  state.end();
  await passed;
  await settled();
  expect(rests.map(({ ms }) => ms)).toEqual([10_000]);
});

test("work that fails lets the next one pass", async () => {
  const { turnstile, rests } = make();
  await expect(turnstile.pass("a", () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  await settled();
  rests[0]?.end();
  expect(await turnstile.pass("a", () => Promise.resolve(1))).toBe(1);
});

test("one source can neither fill the queue nor come again and again; others pass meanwhile", async () => {
  const { turnstile, rests, time } = make({ perMinute: 3, waiting: { ofOne: 2, ofAll: 4 } });
  const work = held();
  const waiting = [turnstile.pass("a", work.work), turnstile.pass("a", () => Promise.resolve("second"))];
  await expect(turnstile.pass("a", () => Promise.resolve(""))).rejects.toSatisfy(limited);
  waiting.push(
    turnstile.pass("b", () => Promise.resolve("b")),
    turnstile.pass("c", () => Promise.resolve("c")),
  );
  await expect(turnstile.pass("d", () => Promise.resolve(""))).rejects.toSatisfy(limited);

  await settled();
  work.state.end();
  for (let i = 0; i < 5; i++) {
    await settled();
    rests.at(-1)?.end();
  }
  expect(await Promise.all(waiting)).toEqual(["done", "second", "b", "c"]);

  await settled();
  rests.at(-1)?.end();
  await turnstile.pass("a", () => Promise.resolve("third"));
  await expect(turnstile.pass("a", () => Promise.resolve(""))).rejects.toSatisfy(limited);
  time.now += 60_000;
  await settled();
  rests.at(-1)?.end();
  expect(await turnstile.pass("a", () => Promise.resolve("a minute later"))).toBe("a minute later");
});

test("whoever makes up ten thousand sources shares one count from then on", async () => {
  const { turnstile, time } = make({ perMinute: 2, sleep: () => Promise.resolve() });
  for (let i = 0; i < 10_000; i++) await turnstile.pass(`source ${i}`, () => Promise.resolve());
  await turnstile.pass("new 1", () => Promise.resolve());
  await turnstile.pass("new 2", () => Promise.resolve());
  await expect(turnstile.pass("new 3", () => Promise.resolve())).rejects.toSatisfy(limited);
  await turnstile.pass("source 1", () => Promise.resolve());
  time.now += 60_000;
  await turnstile.pass("new 3", () => Promise.resolve());
});
