import { AttestationError } from "../evidence.ts";

/** `smt`: sharing a core with whatever else the host runs. `cxl`: memory beyond the processor's own. */
export type SnpPermission = "smt" | "cxl";

/** Of the guest's policy ("Firmware ABI" table 9): the ABI's least version in 16 bits, then one bit each. */
const KNOWN_POLICY_BITS = 26n;
const policyBit = { reserved: 1n << 17n, migration: 1n << 18n, debug: 1n << 19n } as const;
const permissionBit: Readonly<Record<SnpPermission, bigint>> = { smt: 1n << 16n, cxl: 1n << 21n };

const permissions = ["smt", "cxl"] as const;

/** What a guest's policy permits of what has to be accepted. */
export function permittedIn(policy: bigint): SnpPermission[] {
  return permissions.filter((permission) => (policy & permissionBit[permission]) !== 0n);
}

/** @throws AttestationError MALFORMED, UNSUPPORTED, DEBUG, MEASUREMENT */
export function checkGuestPolicy(policy: bigint, guestMay: readonly SnpPermission[]): void {
  if ((policy & policyBit.reserved) === 0n) {
    throw new AttestationError("MALFORMED", "SEV-SNP: the guest's policy lacks the bit that is always set");
  }
  if (policy >> KNOWN_POLICY_BITS !== 0n) {
    throw new AttestationError("UNSUPPORTED", "SEV-SNP: the guest's policy has bits that are unknown");
  }
  if ((policy & policyBit.debug) !== 0n) {
    throw new AttestationError("DEBUG", "SEV-SNP: the guest's policy allows debugging: the host can read its memory");
  }
  if ((policy & policyBit.migration) !== 0n) {
    throw new AttestationError(
      "DEBUG",
      "SEV-SNP: the guest's policy allows a migration agent, which can read its memory",
    );
  }
  const permission = permittedIn(policy).find((each) => !guestMay.includes(each));
  if (permission !== undefined) {
    const what = `SEV-SNP: the guest's policy permits ${permission.toUpperCase()}`;
    throw new AttestationError("MEASUREMENT", `${what}, and what is pinned does not accept that`);
  }
}
