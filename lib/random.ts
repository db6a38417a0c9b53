import { randomBytes } from "node:crypto";

/** Gives `length` unpredictable bytes. Handed in, so that tests can repeat themselves. */
export type RandomBytes = (length: number) => Uint8Array;

export const systemRandom: RandomBytes = (length) => randomBytes(length);

/** An id that cannot be guessed: 128 random bits as 22 characters of base64url. */
export function randomId(random: RandomBytes): string {
  return Buffer.from(random(16)).toString("base64url");
}

/** A bearer secret: 256 random bits as 43 characters of base64url. */
export function randomSecret(random: RandomBytes): string {
  return Buffer.from(random(32)).toString("base64url");
}
