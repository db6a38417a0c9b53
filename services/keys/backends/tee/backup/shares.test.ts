import { randomBytes } from "node:crypto";

import { describe, expect, test } from "vitest";

import { combineShares, SHARE_BYTES, shareDigest, splitSecret } from "./shares.ts";

const secret = randomBytes(32);

/** Every choice of `count` out of them. */
function choices<T>(all: readonly T[], count: number): T[][] {
  if (count === 0) return [[]];
  return all.flatMap((first, i) => choices(all.slice(i + 1), count - 1).map((rest) => [first, ...rest]));
}

describe("a secret that was split", () => {
  test.each([
    [2, 2],
    [2, 3],
    [3, 5],
    [5, 5],
    [16, 16],
  ])("into %i of %i is in any so many of its shares, and in none fewer", async (threshold, count) => {
    const shares = await splitSecret(secret, { threshold, shares: count });
    expect(shares).toHaveLength(count);
    for (const share of shares) expect(share).toHaveLength(SHARE_BYTES);
    for (const some of choices(shares, threshold)) expect(await combineShares(some)).toEqual(secret);
    expect(await combineShares([...shares].reverse())).toEqual(secret);
    if (threshold === 2) return;
    for (const few of choices(shares, threshold - 1)) expect(await combineShares(few)).not.toEqual(secret);
  });

  test("is split anew each time, and stays as it was", async () => {
    const before = Buffer.from(secret);
    const splits = await Promise.all([1, 2, 3].map(() => splitSecret(secret, { threshold: 2, shares: 3 })));
    const digests = splits.flat().map(shareDigest);
    expect(new Set(digests).size).toBe(9);
    expect(secret).toEqual(before);
  });

  test("leaves no trace in a single share: each of its bytes takes any value, whatever the secret's is", async () => {
    const seen = new Set<number>();
    for (let i = 0; i < 200; i++) {
      const [share] = await splitSecret(Buffer.alloc(32), { threshold: 2, shares: 2 });
      for (const byte of share!.subarray(0, 32)) seen.add(byte);
    }
    // Zero too: that the highest coefficient may be zero is what makes it tell nothing.
    expect(seen.size).toBe(256);
  });

  test("does not come of a share that is there twice", async () => {
    const [share = Buffer.alloc(0)] = await splitSecret(secret, { threshold: 2, shares: 3 });
    await expect(combineShares([share, share])).rejects.toThrow("duplicate");
  });
});
