import { createHash } from "node:crypto";

import type { RandomBytes } from "@agentkeys/lib/random";

/** Letters that spell no words and look like no other (RFC 8628 section 6.1). */
const USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ";

/** A code for two screens: XXXX-XXXX, 34 bits. It is compared by a person and opens nothing by itself. */
export function newUserCode(random: RandomBytes): string {
  const letters: string[] = [];
  while (letters.length < 8) {
    for (const byte of random(16)) {
      // 240 is the largest multiple of 20 in a byte: what is above would favour some letters.
      if (byte < 240 && letters.length < 8) letters.push(USER_CODE_LETTERS.charAt(byte % 20));
    }
  }
  return `${letters.slice(0, 4).join("")}-${letters.slice(4).join("")}`;
}

/** What the store keeps of a secret of 256 random bits: its SHA-256 in hex. */
export function hashOf(secret: string): string {
  return createHash("sha256").update(secret, "utf8").digest("hex");
}
