import { AttestationError } from "../evidence.ts";

/** An attestation report of SEV-SNP, versions 2 to 5, as "SEV Secure Nested Paging Firmware ABI" table 23 lays it out. */
export interface SnpReport {
  version: number;
  policy: bigint;
  vmpl: number;
  platformInfo: bigint;
  signedBy: "VCEK" | "VLEK";
  /** The author of the ID block signed it, so that `authorKeyDigest` means something. */
  authorKeyEnabled: boolean;
  reportData: Buffer;
  measurement: Buffer;
  hostData: Buffer;
  idKeyDigest: Buffer;
  authorKeyDigest: Buffer;
  /** The firmware's security versions, by which the signing key was derived; 8 bytes whose meaning the product decides. */
  reportedTcb: Buffer;
  /** The versions that run, those that firmware cannot be put back below any more, and those that launched the guest. */
  currentTcb: Buffer;
  committedTcb: Buffer;
  launchTcb: Buffer;
  /** From version 3 on. */
  cpu: { family: number; model: number } | undefined;
  chipId: Buffer;
  /** What the signature covers, and the signature as r || s, big-endian. */
  signed: Buffer;
  signature: Buffer;
}

export const REPORT_BYTES = 1184;
const SIGNED_BYTES = 0x2a0;
/** In the report each half of the signature takes 72 bytes, little-endian; those of P-384 fill 48. */
const [FIELD_BYTES, SCALAR_BYTES] = [72, 48];
const ECDSA_P384_SHA384 = 1;
/** Whether the author's key is there, whether the chip's key is masked, and three bits for who signed. */
const KNOWN_FLAGS = 5;
const signers = ["VCEK", "VLEK"] as const;

/** Reads a report; nothing about it is verified yet. @throws AttestationError MALFORMED, UNSUPPORTED */
export function readSnpReport(bytes: Uint8Array): SnpReport {
  if (bytes.length !== REPORT_BYTES) throw malformed(`has ${bytes.length} bytes, expected ${REPORT_BYTES}`);
  const report = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = report.readUInt32LE(0);
  if (version < 2 || version > 5) throw unsupported(`is of version ${version}, expected 2 to 5`);
  const algorithm = report.readUInt32LE(0x34);
  if (algorithm !== ECDSA_P384_SHA384) throw unsupported(`is signed by the algorithm ${algorithm}`);
  const flags = report.readUInt32LE(0x48);
  if (flags >>> KNOWN_FLAGS !== 0 || report.readUInt32LE(0x4c) !== 0) throw unsupported("has flags that are unknown");
  const signedBy = signers[(flags >> 2) & 7];
  if (signedBy === undefined) throw unsupported("is signed neither by a VCEK nor by a VLEK");
  const field = (offset: number, length: number): Buffer => report.subarray(offset, offset + length);
  return {
    version,
    policy: report.readBigUInt64LE(0x08),
    vmpl: report.readUInt32LE(0x30),
    platformInfo: report.readBigUInt64LE(0x40),
    signedBy,
    authorKeyEnabled: (flags & 1) !== 0,
    reportData: field(0x50, 64),
    measurement: field(0x90, 48),
    hostData: field(0xc0, 32),
    idKeyDigest: field(0xe0, 48),
    authorKeyDigest: field(0x110, 48),
    reportedTcb: field(0x180, 8),
    currentTcb: field(0x38, 8),
    committedTcb: field(0x1e0, 8),
    launchTcb: field(0x1f0, 8),
    cpu: version < 3 ? undefined : { family: report.readUInt8(0x188), model: report.readUInt8(0x189) },
    chipId: field(0x1a0, 64),
    signed: field(0, SIGNED_BYTES),
    signature: readSignature(report.subarray(SIGNED_BYTES)),
  };
}

/** The signature is not covered by itself: whatever it leaves free has to be zero. */
function readSignature(field: Buffer): Buffer {
  if (field.subarray(2 * FIELD_BYTES).some((byte) => byte !== 0)) throw malformed("has bytes after the signature");
  const half = (offset: number): Buffer => {
    const value = Buffer.from(field.subarray(offset, offset + FIELD_BYTES)).reverse();
    const padding = FIELD_BYTES - SCALAR_BYTES;
    if (value.subarray(0, padding).some((byte) => byte !== 0)) throw malformed("has a signature beyond P-384");
    return value.subarray(padding);
  };
  return Buffer.concat([half(0), half(FIELD_BYTES)]);
}

function malformed(what: string): AttestationError {
  return new AttestationError("MALFORMED", `the SEV-SNP report ${what}`);
}

function unsupported(what: string): AttestationError {
  return new AttestationError("UNSUPPORTED", `the SEV-SNP report ${what}`);
}
