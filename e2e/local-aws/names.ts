import type { RandomBytes } from "@agentkeys/lib/random";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** An id as AWS makes them: a prefix that says of what (ASIA, AROA) and 16 random characters. */
export function randomName(prefix: string, random: RandomBytes): string {
  return prefix + [...random(16)].map((byte) => ALPHABET.charAt(byte % ALPHABET.length)).join("");
}
