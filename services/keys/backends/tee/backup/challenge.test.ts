import { randomBytes } from "node:crypto";

import { expect, test } from "vitest";

import { systemRandom } from "@agentkeys/lib/random";

import { createChallenges } from "./challenge.ts";

let now = Date.UTC(2030, 0, 1);
const clock = (): number => now;
const challenges = createChallenges({ clock, random: systemRandom });

test("a nonce is good on the connection that it was given out on, for a minute", () => {
  const [here, elsewhere] = [randomBytes(32), randomBytes(32)];
  const nonce = challenges.issue(here);
  expect(nonce).toHaveLength(32);
  expect(challenges.isGood(nonce, here)).toBe(true);
  expect(challenges.isGood(nonce, elsewhere)).toBe(false);
  now += 60_000;
  expect(challenges.isGood(nonce, here)).toBe(true);
  now += 1;
  expect(challenges.isGood(nonce, here)).toBe(false);
  now -= 60_002;
  expect(challenges.isGood(nonce, here)).toBe(false);
});

test("nobody else makes one: no bit of it may be another, and a worker that was started anew knows none of before", () => {
  const here = randomBytes(32);
  const nonce = challenges.issue(here);
  for (let bit = 0; bit < 256; bit++) {
    const changed = Buffer.from(nonce);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    expect(challenges.isGood(changed, here)).toBe(false);
  }
  for (const other of [Buffer.alloc(0), nonce.subarray(1), Buffer.concat([nonce, nonce]), Buffer.alloc(32)]) {
    expect(challenges.isGood(other, here)).toBe(false);
  }
  expect(createChallenges({ clock, random: systemRandom }).isGood(nonce, here)).toBe(false);
});
