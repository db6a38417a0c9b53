import { AttestationError, type AttestationErrorCode, type NonEmpty } from "./evidence.ts";

/** One named value of the evidence, and what it may be: lower-case hex, or text where the name's documentation says so. */
export interface Pin<Name extends string> {
  name: Name;
  values: NonEmpty<string>;
}

/** Values by name: what a verifier found, and later gives as `Verified`'s measurements or identity. */
export type Found = Readonly<Record<string, string>>;

/**
 * Compares what was found with what is pinned, every pin. A value of zeros only (a PCR that was never extended, a chip id
 * that is masked) says nothing about anything, so it matches no pin, not even one of zeros.
 * Returns the values that were compared.
 * @throws AttestationError with `code`
 */
export function comparePins(
  pins: NonEmpty<Pin<string>>,
  found: Found,
  code: AttestationErrorCode,
  what: string,
): Record<string, string> {
  const compared: Record<string, string> = {};
  for (const { name, values } of pins) {
    const value = found[name];
    if (value === undefined) throw new AttestationError(code, `${what}: ${name} is pinned, but the evidence has none`);
    if (/^0*$/.test(value)) throw new AttestationError(code, `${what}: ${name} is zero: nothing was measured into it`);
    if (!values.includes(value)) {
      throw new AttestationError(code, `${what}: ${name} is ${value}, expected ${values.join(" or ")}`);
    }
    compared[name] = value;
  }
  return compared;
}

/** Compares bytes that the verifier chose itself with those in the evidence. @throws AttestationError with `code` */
export function compareBytes(
  found: Uint8Array | undefined,
  expected: Uint8Array | undefined,
  code: AttestationErrorCode,
  what: string,
): void {
  const hex = (bytes: Uint8Array | undefined): string =>
    bytes === undefined ? "none" : Buffer.from(bytes).toString("hex");
  if (hex(found) !== hex(expected)) {
    throw new AttestationError(code, `${what} is ${hex(found)}, expected ${hex(expected)}`);
  }
}

/** The 64 bytes of report data of SEV-SNP and TDX: the digest of the claims, and zeros. */
export function fullReportData(reportData: Uint8Array): Buffer {
  if (reportData.length !== 32) throw new TypeError("report data is the 32 bytes of a digest");
  return Buffer.concat([reportData, Buffer.alloc(32)]);
}

/** How old evidence may be that tells its time, and how far this machine's clock may be behind; milliseconds. */
export interface AgeLimits {
  maxAgeMs: number;
  clockSkewMs: number;
}

/** @throws AttestationError STALE */
export function checkAge(madeAt: Date, at: Date, { maxAgeMs, clockSkewMs }: AgeLimits, what: string): void {
  const age = at.getTime() - madeAt.getTime();
  // Written so that NaN fails too.
  if (age <= maxAgeMs && age >= -clockSkewMs) return;
  const allowed = `expected at most ${maxAgeMs} ms, and no more than ${clockSkewMs} ms ahead of this clock`;
  throw new AttestationError("STALE", `${what} was made ${age} ms ago: ${allowed}`);
}
