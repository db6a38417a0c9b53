import { AttestationError } from "../evidence.ts";

/**
 * What a platform can be demanded to be, as its firmware reports ("Firmware ABI" table 23, PLATFORM_INFO). `alias_check`: that no two
 * addresses lead to the same memory was checked since the last reset, which a module that lies about its size (BadRAM, AMD-SB-3015)
 * does not pass. `ciphertext_hiding`: the host sees no ciphertext of the guest's memory. `rapl_disabled`: nor what power it takes.
 */
export type SnpPlatformTrait = (typeof platformTraits)[number];

export const platformTraits = [
  "alias_check",
  "ciphertext_hiding",
  "ecc",
  "rapl_disabled",
  "smt_disabled",
  "tsme",
] as const;

const bits: Readonly<Record<SnpPlatformTrait, { bit: bigint; set: boolean }>> = {
  smt_disabled: { bit: 1n << 0n, set: false },
  tsme: { bit: 1n << 1n, set: true },
  ecc: { bit: 1n << 2n, set: true },
  rapl_disabled: { bit: 1n << 3n, set: true },
  ciphertext_hiding: { bit: 1n << 4n, set: true },
  alias_check: { bit: 1n << 5n, set: true },
};

/** What of it a platform is. */
export function traitsOf(platformInfo: bigint): SnpPlatformTrait[] {
  return platformTraits.filter((trait) => ((platformInfo & bits[trait].bit) !== 0n) === bits[trait].set);
}

/** @throws AttestationError TCB */
export function checkPlatform(platformInfo: bigint, must: readonly SnpPlatformTrait[]): void {
  const found = traitsOf(platformInfo);
  const missing = must.find((trait) => !found.includes(trait));
  if (missing === undefined) return;
  throw new AttestationError("TCB", `SEV-SNP: the platform is not ${missing}, as it must be`);
}
