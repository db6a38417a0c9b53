import { readPem } from "../chain.ts";
import { AttestationError } from "../evidence.ts";
import type { Certificate } from "../x509.ts";

/** A quote of Intel TDX, version 4 or 5, with an ECDSA P-256 signature ("Intel TDX DCAP Quoting Library API", appendix 3). */
export interface TdxQuote {
  version: number;
  td: TdReport;
  /** What the attestation key signed: header and body. */
  signed: Buffer;
  signature: Buffer;
  /** The attestation key: x || y on P-256. */
  attestationKey: Buffer;
  /** The quoting enclave's report, which vouches for that key, and the processor's signature over it. */
  qe: QeReport;
  qeReport: Buffer;
  qeSignature: Buffer;
  qeAuthenticationData: Buffer;
  /** The processor's certificate (PCK), its authority, the root. */
  certificates: readonly Certificate[];
}

/** Of a trust domain: a TD report of 584 bytes (1.0) or 648 (1.5). */
export interface TdReport {
  teeTcbSvn: Buffer;
  mrSignerSeam: Buffer;
  seamAttributes: Buffer;
  attributes: bigint;
  mrtd: Buffer;
  mrConfigId: Buffer;
  mrOwner: Buffer;
  mrOwnerConfig: Buffer;
  rtmrs: readonly [Buffer, Buffer, Buffer, Buffer];
  reportData: Buffer;
  /** Since 1.5: which services are bound to it, that may look into it; zeros where none is. */
  mrServiceTd: Buffer | undefined;
}

/** Of an SGX enclave: 384 bytes. */
export interface QeReport {
  miscSelect: Buffer;
  attributes: Buffer;
  mrSigner: Buffer;
  isvProdId: number;
  isvSvn: number;
  reportData: Buffer;
}

const HEADER_BYTES = 48;
const TD_REPORT_BYTES = { "1.0": 584, "1.5": 648 } as const;
const QE_REPORT_BYTES = 384;
const ECDSA_P256 = 2;
const TEE_TDX = 0x81;
const INTEL_QE_VENDOR = "939a7233f79c4ca9940a0db3957f0607";
/** Kinds of certification data: certificates as PEM; a QE report that in turn is certified. */
const [PCK_CHAIN, QE_REPORT] = [5, 6];

/** Reads a quote; nothing about it is verified yet. @throws AttestationError MALFORMED, UNSUPPORTED */
export function readQuote(bytes: Uint8Array): TdxQuote {
  const quote = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = new Reader(quote);
  const version = readHeader(reader.take(HEADER_BYTES));
  const td = readTdReport(version === 5 ? readBodyV5(reader) : reader.take(TD_REPORT_BYTES["1.0"]));
  const signed = quote.subarray(0, reader.offset);
  const signatureData = new Reader(reader.take(reader.u32()));
  // What is left is padding, and signed by nobody: it has to be empty of meaning.
  if (reader.rest().some((byte) => byte !== 0)) throw malformed("has bytes after its signature");
  return { version, td, signed, ...readSignatureData(signatureData) };
}

function readHeader(header: Buffer): number {
  const version = header.readUInt16LE(0);
  if (version !== 4 && version !== 5) throw unsupported(`is of version ${version}, expected 4 or 5`);
  if (header.readUInt16LE(2) !== ECDSA_P256) throw unsupported("is not signed with ECDSA on P-256");
  if (header.readUInt32LE(4) !== TEE_TDX) throw unsupported("is of another technology than TDX");
  if (header.toString("hex", 12, 28) !== INTEL_QE_VENDOR)
    throw unsupported("is made by a quoting enclave not of Intel's");
  return version;
}

/** Version 5 says which kind of body follows, and how long it is. */
function readBodyV5(reader: Reader): Buffer {
  const type = reader.u16();
  const length = reader.u32();
  const expected = type === 2 ? TD_REPORT_BYTES["1.0"] : type === 3 ? TD_REPORT_BYTES["1.5"] : undefined;
  if (expected === undefined) throw unsupported(`has a body of type ${type}, expected a TD report (2 or 3)`);
  if (length !== expected) throw malformed(`has a body of ${length} bytes, expected ${expected}`);
  return reader.take(length);
}

function readTdReport(report: Buffer): TdReport {
  const field = (offset: number, length: number): Buffer => report.subarray(offset, offset + length);
  return {
    teeTcbSvn: field(0, 16),
    mrSignerSeam: field(64, 48),
    seamAttributes: field(112, 8),
    attributes: report.readBigUInt64LE(120),
    mrtd: field(136, 48),
    mrConfigId: field(184, 48),
    mrOwner: field(232, 48),
    mrOwnerConfig: field(280, 48),
    rtmrs: [field(328, 48), field(376, 48), field(424, 48), field(472, 48)],
    reportData: field(520, 64),
    mrServiceTd: report.length < TD_REPORT_BYTES["1.5"] ? undefined : field(600, 48),
  };
}

function readSignatureData(reader: Reader): Omit<TdxQuote, "version" | "td" | "signed"> {
  const signature = reader.take(64);
  const attestationKey = reader.take(64);
  const certified = certificationData(reader, QE_REPORT);
  const qeReport = certified.take(QE_REPORT_BYTES);
  const qeSignature = certified.take(64);
  const qeAuthenticationData = certified.take(certified.u16());
  const pem = certificationData(certified, PCK_CHAIN).rest().toString("latin1");
  return {
    signature,
    attestationKey,
    qe: readQeReport(qeReport),
    qeReport,
    qeSignature,
    qeAuthenticationData,
    certificates: readPem(pem.endsWith("\0") ? pem.slice(0, -1) : pem, "the TDX quote's certificates"),
  };
}

/** A type, a length, and that many bytes, which have to be all that is left. */
function certificationData(reader: Reader, expected: number): Reader {
  const type = reader.u16();
  if (type !== expected) throw unsupported(`has certification data of type ${type}, expected ${expected}`);
  const content = reader.take(reader.u32());
  if (reader.rest().length > 0) throw malformed("has bytes after its certification data");
  return new Reader(content);
}

function readQeReport(report: Buffer): QeReport {
  return {
    miscSelect: report.subarray(16, 20),
    attributes: report.subarray(48, 64),
    mrSigner: report.subarray(128, 160),
    isvProdId: report.readUInt16LE(256),
    isvSvn: report.readUInt16LE(258),
    reportData: report.subarray(320, 384),
  };
}

class Reader {
  offset = 0;

  constructor(private readonly bytes: Buffer) {}

  take(length: number): Buffer {
    if (length > this.bytes.length - this.offset) throw malformed("is cut off");
    const taken = this.bytes.subarray(this.offset, this.offset + length);
    this.offset += length;
    return taken;
  }

  u16(): number {
    return this.take(2).readUInt16LE(0);
  }

  u32(): number {
    return this.take(4).readUInt32LE(0);
  }

  rest(): Buffer {
    return this.bytes.subarray(this.offset);
  }
}

function malformed(what: string): AttestationError {
  return new AttestationError("MALFORMED", `the TDX quote ${what}`);
}

function unsupported(what: string): AttestationError {
  return new AttestationError("UNSUPPORTED", `the TDX quote ${what}`);
}
