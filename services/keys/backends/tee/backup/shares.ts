import { createHash } from "node:crypto";

import { combine, split } from "shamir-secret-sharing";

/** 32 bytes of the master secret, and the place of the share. */
export const SHARE_BYTES = 33;

/**
 * Shamir's scheme over GF(2^8), by a library that was audited (Cure53, Zellic). Its version matters: before 0.0.4 the highest coefficient
 * was never zero, so that one share fewer than the threshold told a little.
 * The caller zeroes the shares.
 */
export async function splitSecret(
  secret: Uint8Array,
  { threshold, shares }: { threshold: number; shares: number },
): Promise<Uint8Array[]> {
  // The library takes a Uint8Array only, and no Buffer.
  const copy = new Uint8Array(secret);
  try {
    return await split(copy, shares, threshold);
  } finally {
    copy.fill(0);
  }
}

/** What the shares lead to, right or wrong: the scheme itself cannot tell. The caller zeroes it. @throws Error where two are the same */
export async function combineShares(shares: readonly Uint8Array[]): Promise<Buffer> {
  const copies = shares.map((share) => new Uint8Array(share));
  let combined: Uint8Array | undefined;
  try {
    combined = await combine(copies);
    const secret = Buffer.alloc(combined.length);
    secret.set(combined);
    return secret;
  } finally {
    combined?.fill(0);
    for (const copy of copies) copy.fill(0);
  }
}

/** Stands in the manifest, in lower-case hex: tells a share that was changed. A share has 256 random bits, which nobody tries out. */
export function shareDigest(share: Uint8Array): string {
  return createHash("sha256").update("agentkeys/backup-share/v1\0").update(share).digest("hex");
}
