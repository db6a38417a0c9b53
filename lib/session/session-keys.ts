import { createRemoteJWKSet, errors, type JWTVerifyGetKey } from "jose";

import { ErrorReason, Failure } from "../failure.ts";

/**
 * The broker's session keys, fetched from `url` when first needed, kept for 5 minutes, and fetched again when a token names
 * a key that is not among them (at most every `cooldownMs`). A broker that cannot be asked is `BROKER_UNAVAILABLE`: that
 * the token is bad is not known then.
 */
export function remoteSessionKeys(url: string, { cooldownMs = 2_000 }: { cooldownMs?: number } = {}): JWTVerifyGetKey {
  const keys = createRemoteJWKSet(new URL(url), {
    cooldownDuration: cooldownMs,
    cacheMaxAge: 300_000,
    timeoutDuration: 5_000,
  });
  return async (header, token) => {
    try {
      return await keys(header, token);
    } catch (error) {
      // These three are about the token; everything else is about reaching the broker or what it answered.
      if (
        error instanceof errors.JWKSNoMatchingKey ||
        error instanceof errors.JWKSMultipleMatchingKeys ||
        error instanceof errors.JOSENotSupported
      ) {
        throw error;
      }
      throw new Failure(
        ErrorReason.BROKER_UNAVAILABLE,
        "the broker's session keys cannot be fetched; try again shortly",
        {
          retryAfterMs: 2_000,
          cause: error,
        },
      );
    }
  };
}
