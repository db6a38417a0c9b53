import { createHmac } from "node:crypto";

import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import { equalSecrets } from "@agentkeys/lib/secret";

/** Nonces for the evidence of callers, each good on the connection that it was given out on. */
export interface Challenges {
  /** 32 bytes. */
  issue(tlsExporter: Uint8Array): Buffer;
  isGood(nonce: Uint8Array, tlsExporter: Uint8Array): boolean;
}

const TIME_BYTES = 8;
const NONCE_BYTES = 32;

/**
 * The time, and a MAC over it and the connection by a key of this process: nothing is kept, so that nobody can use up room by asking. A nonce
 * may be answered twice within its minute, by the same peer on the same connection, which learns nothing new.
 */
export function createChallenges({ clock, random }: { clock: Clock; random: RandomBytes }): Challenges {
  const key = random(32);
  const nonceAt = (time: number, tlsExporter: Uint8Array): Buffer => {
    const nonce = Buffer.alloc(NONCE_BYTES);
    nonce.writeBigUInt64BE(BigInt(time));
    createHmac("sha256", key)
      .update(nonce.subarray(0, TIME_BYTES))
      .update(tlsExporter)
      .digest()
      .copy(nonce, TIME_BYTES, 0, NONCE_BYTES - TIME_BYTES);
    return nonce;
  };
  return {
    issue: (tlsExporter) => nonceAt(clock(), tlsExporter),
    isGood: (nonce, tlsExporter) => {
      if (nonce.length !== NONCE_BYTES) return false;
      const issuedAt = Number(Buffer.from(nonce).readBigUInt64BE());
      if (!Number.isSafeInteger(issuedAt)) return false;
      const age = clock() - issuedAt;
      return age >= 0 && age <= MINUTE && equalSecrets(nonceAt(issuedAt, tlsExporter), nonce);
    },
  };
}
