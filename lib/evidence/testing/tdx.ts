import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

import type { RandomBytes } from "../../random.ts";
import { basicConstraints, type Extension, keyUsage, toPem } from "../certificate.ts";
import { derOctets, derOid, derSequence, derUnsigned } from "../der-writer.ts";
import { SGX_EXTENSIONS } from "../tdx/pck.ts";
import type { TcbStatus } from "../tdx/tcb-status.ts";
import { createTestRoot, type TestAuthority, type Validity } from "./authority.ts";
import { issueCrl } from "./crl.ts";

/** A processor and those who vouch for it, under a test root: what Intel is to the real ones. */
export interface TdxPlatform {
  root: TestAuthority;
  authority: TestAuthority;
  processor: { key: KeyObject; der: Buffer };
  collateralSigner: { key: KeyObject; der: Buffer };
}

export interface ProcessorClaims {
  ppid: Buffer;
  fmspc: Buffer;
  pceId: Buffer;
  componentSvns: readonly number[];
  pceSvn: number;
}

export function createTdxPlatform(
  processor: ProcessorClaims,
  { random, validity }: { random: RandomBytes; validity: Validity },
): TdxPlatform {
  const keys = "P-256";
  const root = createTestRoot("test SGX root", { keys, random, validity });
  const authority = root.authority("test PCK platform CA", { keys, pathLength: 0 });
  const extensions = [basicConstraints("end-entity"), keyUsage("digitalSignature"), sgxExtensions(processor)];
  return {
    root,
    authority,
    processor: authority.endEntity("test PCK certificate", { keys, extensions }),
    collateralSigner: root.endEntity("Intel SGX TCB Signing", { keys }),
  };
}

/** The extension of a PCK certificate that says what the processor is. */
export function sgxExtensions({ ppid, fmspc, pceId, componentSvns, pceSvn }: ProcessorClaims): Extension {
  const field = (arcs: string, value: Buffer): Buffer => derSequence(derOid(`${SGX_EXTENSIONS}.${arcs}`), value);
  const tcb = derSequence(
    ...componentSvns.map((svn, index) => field(`2.${index + 1}`, derUnsigned(svn))),
    field("2.17", derUnsigned(pceSvn)),
    field("2.18", derOctets(Buffer.from(componentSvns))), // the raw CPUSVN
  );
  return {
    oid: SGX_EXTENSIONS,
    critical: false,
    value: derSequence(
      field("1", derOctets(ppid)),
      field("2", tcb),
      field("3", derOctets(pceId)),
      field("4", derOctets(fmspc)),
    ),
  };
}

export interface TestTcbLevel {
  sgxComponents: readonly number[];
  tdxComponents: readonly number[];
  pceSvn: number;
  status: TcbStatus;
  advisories: readonly string[];
}

export interface TestSvnLevel {
  isvSvn: number;
  status: TcbStatus;
  advisories: readonly string[];
}

/** What Intel publishes, in our own words. `spoil` changes a document before it is signed. */
export interface CollateralClaims extends Validity {
  fmspc: Buffer;
  pceId: Buffer;
  evaluation: number;
  levels: readonly TestTcbLevel[];
  /** By id, `TDX_01` … */
  modules: Readonly<Record<string, readonly TestSvnLevel[]>>;
  qe: { mrSigner: Buffer; isvProdId: number; levels: readonly TestSvnLevel[] };
  revokedProcessors: readonly string[];
  revokedAuthorities: readonly string[];
  spoil?: (document: Record<string, unknown>) => void;
}

/** Issues a collateral document, as its fields. */
export function issueCollateral(
  { root, authority, collateralSigner }: TdxPlatform,
  claims: CollateralClaims,
): Record<string, string> {
  const { notBefore: thisUpdate, notAfter: nextUpdate } = claims;
  const chain = (...certificates: readonly Buffer[]): string => certificates.map(toPem).join("");
  const signed = (document: Record<string, unknown>): { text: string; signature: string } => {
    claims.spoil?.(document);
    const text = JSON.stringify(document);
    const signature = sign("sha256", Buffer.from(text), { key: collateralSigner.key, dsaEncoding: "ieee-p1363" });
    return { text, signature: signature.toString("hex") };
  };
  const dates = { issueDate: seconds(thisUpdate), nextUpdate: seconds(nextUpdate) };
  const tcbInfo = signed({ id: "TDX", version: 3, ...dates, ...tcbInfoOf(claims) });
  const qeIdentity = signed({ id: "TD_QE", version: 2, ...dates, ...qeIdentityOf(claims) });
  const crl = (issuer: TestAuthority, revoked: readonly string[]): string =>
    issueCrl({ issuer, thisUpdate, nextUpdate, revoked }).toString("hex");
  return {
    pck_crl_issuer_chain: chain(authority.der, root.der),
    root_ca_crl: crl(root, claims.revokedAuthorities),
    pck_crl: crl(authority, claims.revokedProcessors),
    tcb_info_issuer_chain: chain(collateralSigner.der, root.der),
    tcb_info: tcbInfo.text,
    tcb_info_signature: tcbInfo.signature,
    qe_identity_issuer_chain: chain(collateralSigner.der, root.der),
    qe_identity: qeIdentity.text,
    qe_identity_signature: qeIdentity.signature,
  };
}

const module = { mrsigner: "00".repeat(48), attributes: "00".repeat(8), attributesMask: "FF".repeat(8) };

function tcbInfoOf({ fmspc, pceId, evaluation, levels, modules }: CollateralClaims): Record<string, unknown> {
  const components = (svns: readonly number[]): object[] => svns.map((svn) => ({ svn }));
  return {
    fmspc: fmspc.toString("hex").toUpperCase(),
    pceId: pceId.toString("hex"),
    tcbType: 0,
    tcbEvaluationDataNumber: evaluation,
    tdxModule: module,
    tdxModuleIdentities: Object.entries(modules).map(([id, own]) => ({ id, ...module, tcbLevels: own.map(svnLevel) })),
    tcbLevels: levels.map(({ sgxComponents, tdxComponents, pceSvn, status, advisories }) => ({
      tcb: {
        sgxtcbcomponents: components(sgxComponents),
        pcesvn: pceSvn,
        tdxtcbcomponents: components(tdxComponents),
      },
      tcbDate: "2026-01-01T00:00:00Z",
      tcbStatus: status,
      ...(advisories.length > 0 ? { advisoryIDs: advisories } : {}),
    })),
  };
}

function qeIdentityOf({ qe, evaluation }: CollateralClaims): Record<string, unknown> {
  return {
    tcbEvaluationDataNumber: evaluation,
    miscselect: "00000000",
    miscselectMask: "FFFFFFFF",
    attributes: "11000000000000000000000000000000",
    attributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
    mrsigner: qe.mrSigner.toString("hex").toUpperCase(),
    isvprodid: qe.isvProdId,
    tcbLevels: qe.levels.map(svnLevel),
  };
}

function svnLevel({ isvSvn, status, advisories }: TestSvnLevel): object {
  return {
    tcb: { isvsvn: isvSvn },
    tcbDate: "2026-01-01T00:00:00Z",
    tcbStatus: status,
    ...(advisories.length > 0 ? { advisoryIDs: advisories } : {}),
  };
}

/** What a quote says; sizes are those of its fields. */
export interface QuoteClaims {
  /** `5/1.0` is a version 5 quote with a TD report of TDX 1.0. */
  form: "4" | "5/1.0" | "5/1.5";
  teeTcbSvn: Buffer;
  attributes: bigint;
  mrtd: Buffer;
  mrConfigId: Buffer;
  rtmrs: readonly [Buffer, Buffer, Buffer, Buffer];
  reportData: Buffer;
  /** In a report of TDX 1.5: the services that are bound to the guest; none unless told otherwise. */
  mrServiceTd?: Buffer;
  qe: { attributes: Buffer; mrSigner: Buffer; isvProdId: number; isvSvn: number };
  /** Zeros after the quote. */
  padding: number;
}

export interface QuoteForgery {
  /** Changes header and body before they are signed. */
  body?: (signed: Buffer) => void;
  /** Changes the quoting enclave's report before the processor signs it. */
  qeReport?: (report: Buffer) => void;
  /** Changes the PEM of the certificates. */
  pem?: (pem: string) => string;
}

/** Issues a quote, with an attestation key and a quoting enclave made for it. */
export function issueQuote(platform: TdxPlatform, claims: QuoteClaims, forgery: QuoteForgery = {}): Buffer {
  const attestation = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const signed = Buffer.concat([header(claims), body(claims)]);
  forgery.body?.(signed);
  const authenticationData = Buffer.alloc(32, 0xab);
  const point = pointOf(attestation.publicKey);
  const report = qeReport(claims, createHash("sha256").update(point).update(authenticationData).digest());
  forgery.qeReport?.(report);
  const certificates = [platform.processor.der, ...platform.authority.chain].map(toPem).join("");
  const pem = Buffer.from(forgery.pem?.(certificates) ?? certificates + "\0", "latin1");
  const certified = Buffer.concat([
    report,
    p256(report, platform.processor.key),
    u16(authenticationData.length),
    authenticationData,
    u16(5),
    u32(pem.length),
    pem,
  ]);
  const signatureData = Buffer.concat([
    p256(signed, attestation.privateKey),
    point,
    u16(6),
    u32(certified.length),
    certified,
  ]);
  return Buffer.concat([signed, u32(signatureData.length), signatureData, Buffer.alloc(claims.padding)]);
}

function header({ form }: QuoteClaims): Buffer {
  const bytes = Buffer.alloc(48);
  bytes.writeUInt16LE(form === "4" ? 4 : 5, 0);
  bytes.writeUInt16LE(2, 2);
  bytes.writeUInt32LE(0x81, 4);
  bytes.write("939a7233f79c4ca9940a0db3957f0607", 12, "hex");
  return bytes;
}

function body(claims: QuoteClaims): Buffer {
  const report = Buffer.alloc(claims.form === "5/1.5" ? 648 : 584);
  claims.teeTcbSvn.copy(report, 0);
  report.writeBigUInt64LE(claims.attributes, 120);
  claims.mrtd.copy(report, 136);
  claims.mrConfigId.copy(report, 184);
  claims.rtmrs.forEach((rtmr, index) => rtmr.copy(report, 328 + 48 * index));
  claims.reportData.copy(report, 520);
  claims.mrServiceTd?.copy(report, 600);
  return claims.form === "4"
    ? report
    : Buffer.concat([u16(claims.form === "5/1.5" ? 3 : 2), u32(report.length), report]);
}

function qeReport({ qe }: QuoteClaims, reportData: Buffer): Buffer {
  const report = Buffer.alloc(384);
  qe.attributes.copy(report, 48);
  qe.mrSigner.copy(report, 128);
  report.writeUInt16LE(qe.isvProdId, 256);
  report.writeUInt16LE(qe.isvSvn, 258);
  reportData.copy(report, 320);
  return report;
}

function p256(bytes: Buffer, key: KeyObject): Buffer {
  return sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" });
}

function pointOf(key: KeyObject): Buffer {
  const { x = "", y = "" } = key.export({ format: "jwk" });
  return Buffer.concat([Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
}

function seconds(time: Date): string {
  return time.toISOString().replace(/\.\d+Z$/, "Z");
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
