import { createHash } from "node:crypto";

import { algorithm } from "./constants.ts";

/** Hash algorithms by the name that node:crypto has for them. SHA-1 is read, so that it can be refused by its name. */
export type HashName = "sha1" | "sha256" | "sha384" | "sha512";

const numbers: Readonly<Record<HashName, number>> = {
  sha1: algorithm.sha1,
  sha256: algorithm.sha256,
  sha384: algorithm.sha384,
  sha512: algorithm.sha512,
};
const sizes: Readonly<Record<HashName, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };

export function hashNumber(name: HashName): number {
  return numbers[name];
}

/** `undefined` for a number that names no hash that is known here. */
export function hashOfNumber(number: number): HashName | undefined {
  return (Object.keys(numbers) as HashName[]).find((name) => numbers[name] === number);
}

/** Bytes of a digest. */
export function digestSize(name: HashName): number {
  return sizes[name];
}

export const MAX_DIGEST = 64;

export function digest(name: HashName, ...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash(name);
  for (const part of parts) hash.update(part);
  return hash.digest();
}
