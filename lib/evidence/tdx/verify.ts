import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";

import { verifyChain } from "../chain.ts";
import {
  AttestationError,
  type Evidence,
  type EvidenceVerifier,
  type Expected,
  type NonEmpty,
  type Verified,
} from "../evidence.ts";
import { checkIntake } from "../intake.ts";
import { compareBytes, comparePins, fullReportData, type Pin } from "../pins.ts";
import { type Collateral, type QeIdentity, readCollateral, refuseRevoked } from "./collateral.ts";
import { pckClaimsOf, type PckClaims } from "./pck.ts";
import { type QeReport, readQuote, type TdReport, type TdxQuote } from "./quote.ts";
import { judgeTcb } from "./tcb.ts";
import type { AcceptableTcbStatus, TcbVerdict } from "./tcb-status.ts";

/** SHA-256 of Intel's SGX root CA certificate, which TDX shares. */
export const INTEL_ROOT = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";

/** What is pinned of a TDX guest (trust domain). */
export interface TdxPins extends TdxPlatformPins {
  /** What the firmware measured: `rtmr1` and `rtmr2` have the kernel, its command line and initrd. */
  rtmrs: NonEmpty<Pin<RtmrName>>;
  /**
   * Whose: `ppid` (the processor package), or `mrconfigid`, `mrowner`, `mrownerconfig`, which whoever starts the guest
   * chooses: they tell guests of one owner apart, and mean something to a stranger only together with the identity key
   * inside the claims.
   */
  identity: NonEmpty<Pin<TdxIdentity>>;
}

/** What is pinned of the guest's firmware and of the platform under it. */
export interface TdxPlatformPins {
  /** SHA-256 of root certificates: `INTEL_ROOT`. */
  roots: NonEmpty<string>;
  /** The guest's firmware; 96 hex characters. */
  mrtd: NonEmpty<string>;
  /** What Intel's judgement of the platform may be. */
  tcbStatuses: NonEmpty<AcceptableTcbStatus>;
  /** Advisories that are accepted by their name, `INTEL-SA-…`; any other refuses. May be empty. */
  advisoriesAllowed: readonly string[];
  /** The least `tcbEvaluationDataNumber` of the collateral: older one, though still valid, knows fewer weaknesses. */
  minTcbEvaluation: number;
}

export type RtmrName = "rtmr0" | "rtmr1" | "rtmr2" | "rtmr3";

export type TdxIdentity = "ppid" | "mrconfigid" | "mrowner" | "mrownerconfig";

/** Quotes are some 5,000 bytes, in buffers of 8,000; collateral is some 20,000, and its lists of the revoked grow. */
const limits = { evidenceBytes: 16_384, endorsements: 1, endorsementBytes: 262_144 };

/**
 * Quotes of Intel TDX. The endorsement is one collateral document (`tdx/collateral.ts`). Report data is that of the claims
 * and 32 zero bytes.
 */
export const tdxVerifier: EvidenceVerifier<TdxPins> = {
  type: "tdx",
  verify(evidence: Evidence, { reportData, at }: Expected, pins: TdxPins): Verified {
    checkIntake("tdx", evidence, limits);
    const [collateral = new Uint8Array()] = evidence.endorsements;
    const authentic = authenticateTdx(evidence.evidence, collateral, { roots: pins.roots, at });
    compareBytes(authentic.td.reportData, fullReportData(reportData), "REPORT_DATA", "report_data of the TDX quote");
    return appraiseTdx(authentic, pins);
  },
};

export interface AuthenticTd {
  td: TdReport;
  pck: PckClaims;
  verdict: TcbVerdict;
  /** The older of the two numbers in the collateral. */
  tcbEvaluation: number;
}

/** Reads a quote and verifies everything about it but what it says of the guest. @throws AttestationError */
export function authenticateTdx(
  bytes: Uint8Array,
  collateralBytes: Uint8Array,
  { roots, at }: { roots: NonEmpty<string>; at: Date },
): AuthenticTd {
  const quote = readQuote(bytes);
  const certificate = verifyChain(quote.certificates, { roots, at, what: "the TDX quote's certificates" });
  const pck = pckClaimsOf(certificate);
  const collateral = readCollateral(collateralBytes, { pck: certificate, roots, at });
  refuseRevoked([certificate], collateral.revokedProcessors);
  refuseRevoked(quote.certificates.slice(1), collateral.revokedAuthorities);
  checkSignatures(quote, certificate.publicKey);
  checkQuotingEnclave(quote.qe, collateral.qeIdentity);
  checkPlatformIs(pck, collateral);
  return {
    td: quote.td,
    pck,
    verdict: judgeTcb(quote, pck, collateral.tcbInfo, collateral.qeIdentity),
    tcbEvaluation: Math.min(collateral.tcbInfo.evaluation, collateral.qeIdentity.evaluation),
  };
}

/** Compares an authentic guest with what is pinned. @throws AttestationError */
export function appraiseTdx(authentic: AuthenticTd, pins: TdxPins): Verified {
  const { measurements, warnings } = appraiseTdxPlatform(authentic, pins);
  const { td, pck } = authentic;
  refusePendingPages(td);
  const rtmrs = Object.fromEntries(td.rtmrs.map((rtmr, index) => [`rtmr${index}`, rtmr.toString("hex")]));
  const found = {
    ppid: pck.ppid.toString("hex"),
    mrconfigid: td.mrConfigId.toString("hex"),
    mrowner: td.mrOwner.toString("hex"),
    mrownerconfig: td.mrOwnerConfig.toString("hex"),
  };
  return {
    type: "tdx",
    measurements: { ...measurements, ...comparePins(pins.rtmrs, rtmrs, "MEASUREMENT", "the TDX quote") },
    identity: comparePins(pins.identity, found, "IDENTITY", "the TDX quote"),
    warnings,
  };
}

/** The same but for what runs above the firmware, and whose guest it is. @throws AttestationError */
export function appraiseTdxPlatform(
  { td, verdict, tcbEvaluation }: AuthenticTd,
  pins: TdxPlatformPins,
): Pick<Verified, "measurements" | "warnings"> {
  refuseDebug(td);
  // Written so that NaN fails too.
  if (!(tcbEvaluation >= pins.minTcbEvaluation)) {
    const least = `expected at least ${pins.minTcbEvaluation}`;
    throw new AttestationError("TCB", `TDX: the collateral's evaluation number is ${tcbEvaluation}, ${least}`);
  }
  const warnings = checkVerdict(verdict, pins);
  const pinned = [{ name: "mrtd", values: pins.mrtd }] as const;
  return {
    measurements: comparePins(pinned, { mrtd: td.mrtd.toString("hex") }, "MEASUREMENT", "the TDX quote"),
    warnings,
  };
}

/** The processor signed the quoting enclave's report, which names the key that signed the guest's. */
function checkSignatures(quote: TdxQuote, processorKey: KeyObject): void {
  if (!verifyP256(quote.qeReport, processorKey, quote.qeSignature)) {
    throw new AttestationError("SIGNATURE", "TDX: the processor's signature on the quoting enclave's report is wrong");
  }
  const named = createHash("sha256").update(quote.attestationKey).update(quote.qeAuthenticationData).digest();
  if (!quote.qe.reportData.equals(Buffer.concat([named, Buffer.alloc(32)]))) {
    throw new AttestationError("SIGNATURE", "TDX: the quoting enclave vouches for another key than signed the quote");
  }
  if (!verifyP256(quote.signed, attestationKey(quote.attestationKey), quote.signature)) {
    throw new AttestationError("SIGNATURE", "the TDX quote's signature is wrong");
  }
}

function checkQuotingEnclave(qe: QeReport, identity: QeIdentity): void {
  const isDebug = ((qe.attributes[0] ?? 0) & 0x02) !== 0;
  if (isDebug) throw new AttestationError("DEBUG", "TDX: the quoting enclave runs in debug mode");
  const matches = (value: Buffer, expected: Buffer, mask: Buffer): boolean =>
    value.every((byte, index) => (byte & (mask[index] ?? 0)) === ((expected[index] ?? 0) & (mask[index] ?? 0)));
  if (
    !qe.mrSigner.equals(identity.mrSigner) ||
    qe.isvProdId !== identity.isvProdId ||
    !matches(qe.miscSelect, identity.miscSelect, identity.miscSelectMask) ||
    !matches(qe.attributes, identity.attributes, identity.attributesMask)
  ) {
    throw new AttestationError("IDENTITY", "TDX: the quoting enclave is not Intel's");
  }
}

function checkPlatformIs({ fmspc, pceId }: PckClaims, { tcbInfo }: Collateral): void {
  compareBytes(tcbInfo.fmspc, fmspc, "TCB", "TDX: the collateral is for another platform: FMSPC");
  compareBytes(tcbInfo.pceId, pceId, "TCB", "TDX: the collateral is for another platform: PCE id");
}

/**
 * TD attributes ("Intel TDX Module ABI", TD_ATTRIBUTES): bits 0 to 7 are for guests that may be looked into, the others known here for
 * what a guest uses by itself. XFAM, which registers it may use, lets nobody in.
 */
const attribute = {
  debug: 0xffn,
  linearAddressSeparation: 1n << 27n,
  noPendingPageExceptions: 1n << 28n,
  migratable: 1n << 29n,
  protectionKeys: 1n << 30n,
  keyLocker: 1n << 31n,
  performanceCounters: 1n << 63n,
} as const;
const knownAttributes = Object.values(attribute).reduce((all, bit) => all | bit);

function refuseDebug({ attributes, mrServiceTd }: TdReport): void {
  if ((attributes & attribute.debug) !== 0n) {
    throw new AttestationError("DEBUG", "TDX: the guest's attributes allow debugging or profiling by the host");
  }
  if ((attributes & attribute.migratable) !== 0n) {
    throw new AttestationError(
      "DEBUG",
      "TDX: the guest's attributes allow migration, by a domain that can read its memory",
    );
  }
  if ((attributes & ~knownAttributes) !== 0n) {
    throw new AttestationError("UNSUPPORTED", "TDX: the guest has attributes that are unknown");
  }
  if (mrServiceTd?.some((byte) => byte !== 0)) {
    throw new AttestationError("DEBUG", "TDX: service domains are bound to the guest, which can reach into it");
  }
}

/** Without it a host can take a page away and have the guest handle an exception anywhere. A paravisor (Azure's) sees to it by itself. */
function refusePendingPages({ attributes }: TdReport): void {
  if ((attributes & attribute.noPendingPageExceptions) !== 0n) return;
  throw new AttestationError(
    "DEBUG",
    "TDX: the guest's attributes allow exceptions for pages that the host takes away",
  );
}

function checkVerdict({ status, advisories }: TcbVerdict, pins: TdxPlatformPins): string[] {
  if (status === "Revoked") throw new AttestationError("REVOKED", "TDX: Intel has revoked the platform's TCB");
  if (!pins.tcbStatuses.includes(status)) {
    const because = advisories.length > 0 ? ` (${advisories.join(", ")})` : "";
    throw new AttestationError("TCB", `TDX: the TCB is ${status}${because}, expected ${pins.tcbStatuses.join(" or ")}`);
  }
  const open = advisories.filter((advisory) => !pins.advisoriesAllowed.includes(advisory));
  if (open.length > 0) {
    throw new AttestationError(
      "TCB",
      `TDX: ${open.join(", ")} applies to the platform, and the policy does not accept that`,
    );
  }
  return [
    ...(status === "UpToDate" ? [] : [`the TCB is ${status}; the policy accepts that`]),
    ...advisories.map((advisory) => `${advisory} applies to the platform; the policy accepts that`),
  ];
}

function verifyP256(signed: Buffer, key: KeyObject, signature: Buffer): boolean {
  return verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, signature);
}

function attestationKey(point: Buffer): KeyObject {
  const coordinate = (from: number): string => point.subarray(from, from + 32).toString("base64url");
  try {
    return createPublicKey({ format: "jwk", key: { kty: "EC", crv: "P-256", x: coordinate(0), y: coordinate(32) } });
  } catch (cause) {
    throw new AttestationError("MALFORMED", "TDX: the attestation key is no point on P-256", { cause });
  }
}
