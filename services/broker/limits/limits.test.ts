import { expect, test } from "vitest";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { createLimits } from "./index.ts";

const limits = (times: number) => createLimits({ challenges: { times, seconds: 60 }, mints: { times, seconds: 60 } });
const refusal = async (call: Promise<void>): Promise<Failure | undefined> =>
  call.then(
    () => undefined,
    (error: unknown) => error as Failure,
  );

test("so many times, and then RATE_LIMITED with the time to wait, in whole seconds", async () => {
  const own = limits(2);
  await own.consume("challenges", "192.0.2.1");
  await own.consume("challenges", "192.0.2.1");
  const failure = await refusal(own.consume("challenges", "192.0.2.1"));
  expect(failure?.reason).toBe(ErrorReason.RATE_LIMITED);
  const wait = failure?.details.retryAfterMs ?? 0;
  expect(wait % 1000).toBe(0);
  expect(wait).toBeGreaterThan(50_000);
  expect(wait).toBeLessThanOrEqual(60_000);
});

test("each limit and each key counts by itself", async () => {
  const own = limits(1);
  await own.consume("challenges", "192.0.2.1");
  await own.consume("mints", "192.0.2.1");
  await own.consume("challenges", "192.0.2.2");
  expect(await refusal(own.consume("challenges", "192.0.2.1"))).toBeInstanceOf(Failure);
});

test("looking counts nothing", async () => {
  const own = limits(1);
  for (let i = 0; i < 5; i++) await own.check("mints", "a");
  await own.consume("mints", "a");
  expect(await refusal(own.check("mints", "a"))).toBeInstanceOf(Failure);
});

test("all addresses of an IPv6 /64 are one, however they are written; those of the next are not", async () => {
  const own = limits(1);
  await own.consume("challenges", "2001:db8:0:1::1");
  for (const same of ["2001:db8:0:1:ffff::2", "2001:DB8::1:0:0:0:3", "2001:db8:0:1:2:3:4:5"]) {
    expect(await refusal(own.consume("challenges", same)), same).toBeInstanceOf(Failure);
  }
  await own.consume("challenges", "2001:db8:0:2::1");
});

test("the addresses of one IPv6 network count as one, beside a mailbox too", async () => {
  const limits = createLimits({ mailsBySourceAndMailbox: { times: 1, seconds: 60 } });
  await limits.consume("mailsBySourceAndMailbox", "2001:db8::1 ada@example.com");
  await limits.consume("mailsBySourceAndMailbox", "2001:db8::1 bob@example.com");
  await expect(limits.consume("mailsBySourceAndMailbox", "2001:db8::ffff:2 ada@example.com")).rejects.toThrow(
    "too many",
  );
});
