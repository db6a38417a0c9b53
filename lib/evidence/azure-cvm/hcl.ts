import { AttestationError } from "../evidence.ts";

/** What Azure's paravisor (HCL) leaves in the vTPM's NV index 0x01400001: a report of the hardware over claims of its own. */
export interface HclReport {
  hardware: "sev-snp" | "tdx";
  /** A report of SEV-SNP. With TDX it is a TDREPORT, which only this machine can check: it has to be made a quote of. */
  hardwareReport: Buffer;
  /** JSON, whose SHA-256 is the hardware report's report data: the keys of the vTPM, and how the machine is configured. */
  runtimeClaims: Buffer;
}

export const HCL_NV_INDEX = 0x0140_0001;

const HEADER_BYTES = 32;
const HARDWARE_REPORT_BYTES = 1184;
const REQUEST_HEADER_BYTES = 20;
const hardwareOf: Readonly<Record<number, HclReport["hardware"]>> = { 2: "sev-snp", 4: "tdx" };
const SHA256 = 1;

/** Reads it, for the worker that makes evidence of it. @throws AttestationError MALFORMED, UNSUPPORTED */
export function readHclReport(bytes: Uint8Array): HclReport {
  const report = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const claimsAt = HEADER_BYTES + HARDWARE_REPORT_BYTES + REQUEST_HEADER_BYTES;
  if (report.length < claimsAt || report.toString("latin1", 0, 4) !== "HCLA") throw malformed("does not begin as one");
  const request = report.subarray(HEADER_BYTES + HARDWARE_REPORT_BYTES);
  const hardware = hardwareOf[request.readUInt32LE(8)];
  if (hardware === undefined || request.readUInt32LE(12) !== SHA256) {
    throw new AttestationError("UNSUPPORTED", "Azure's HCL report is of hardware, or by a hash, that is unknown");
  }
  const length = request.readUInt32LE(16);
  if (length > report.length - claimsAt) throw malformed("is cut off");
  return {
    hardware,
    hardwareReport: report.subarray(HEADER_BYTES, HEADER_BYTES + HARDWARE_REPORT_BYTES),
    runtimeClaims: report.subarray(claimsAt, claimsAt + length),
  };
}

function malformed(what: string): AttestationError {
  return new AttestationError("MALFORMED", `Azure's HCL report ${what}`);
}
