import { verify } from "node:crypto";

import { readCertificates, verifyChain } from "../chain.ts";
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
import { type Certificate, nameIn } from "../x509.ts";
import { checkGuestPolicy, type SnpPermission } from "./guest-policy.ts";
import { checkPlatform, type SnpPlatformTrait } from "./platform-info.ts";
import { checkRevocation, type SnpRevocation, type SnpVouchers } from "./revocation.ts";
import { readSnpReport, REPORT_BYTES, type SnpReport } from "./report.ts";
import {
  certifiedTcb,
  cspIdOf,
  hardwareIdOf,
  productOf,
  readTcb,
  type SnpProduct,
  type SnpTcb,
  tcbParts,
} from "./tcb.ts";

/** SHA-256 of AMD's root keys' certificates (ARK), one for each generation of processors. */
export const AMD_ROOTS = {
  Milan: "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
  Genoa: "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
  Turin: "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
} as const;

/** What is pinned of a SEV-SNP guest. */
export interface SnpPins extends SnpPlatformPins {
  /**
   * Whose: `chip_id` (the processor, with a VCEK), `csp_id` (the cloud, with a VLEK, as text), `host_data`,
   * `id_key_digest` or `author_key_digest`. The last three are chosen by whoever starts the guest: they tell guests of
   * one owner apart, and mean something to a stranger only together with the identity key inside the claims.
   */
  identity: NonEmpty<Pin<SnpIdentity>>;
}

/** What is pinned of the guest's code and of the platform under it. */
export interface SnpPlatformPins {
  /** SHA-256 of ARK certificates: `AMD_ROOTS`. */
  roots: NonEmpty<string>;
  /** Which code: launch measurements, 96 hex characters. */
  measurements: NonEmpty<string>;
  /** The least version of each part of the firmware: of what is reported, runs, is committed, and launched the guest. */
  minTcb: SnpTcb;
  /** The privilege level that has to have asked for the report; 0 is the most privileged. */
  vmpl: number;
  /** What the guest's policy may permit of what weakens it; debugging and migration it never may. May be empty. */
  guestMay: readonly SnpPermission[];
  /** What the platform has to be. May be empty. */
  platformMust: readonly SnpPlatformTrait[];
  /** How it is known that AMD has not revoked the authority between its root and the processor. */
  revocation: SnpRevocation;
  /** Broken platforms that are accepted all the same, by the name of what broke them: see `knownBroken`. May be empty. */
  acceptKnownBroken: readonly string[];
}

export type SnpIdentity = "chip_id" | "csp_id" | "host_data" | "id_key_digest" | "author_key_digest";

/** Generations of processors whose attestation was forged in public. */
export const knownBroken: Readonly<Partial<Record<SnpProduct, string>>> = {
  // The root of a Milan's keys can be read out by software: whoever did can sign any report.
  Milan: "arxiv:2605.12990",
};

/**
 * Attestation reports of SEV-SNP. Endorsements: the VCEK or VLEK certificate, the ASK or ASVK, the ARK, in DER.
 * Report data is that of the claims and 32 zero bytes.
 */
export const snpVerifier: EvidenceVerifier<SnpPins> = {
  type: "sev-snp",
  verify(evidence: Evidence, { reportData, at }: Expected, pins: SnpPins): Verified {
    checkIntake("sev-snp", evidence, { evidenceBytes: REPORT_BYTES, endorsements: 3, endorsementBytes: 8192 });
    const report = authenticateSnp(evidence.evidence, evidence.endorsements, { roots: pins.roots, at });
    compareBytes(report.reportData, fullReportData(reportData), "REPORT_DATA", "report_data of the SEV-SNP report");
    return appraiseSnp(report, pins);
  },
};

export interface AuthenticSnpReport extends SnpReport, SnpVouchers {
  product: SnpProduct;
  tcb: SnpTcb;
  /** Present with a VLEK. */
  cspId: string | undefined;
}

/** Reads a report and verifies that a processor signed it whose key AMD certified. @throws AttestationError */
export function authenticateSnp(
  bytes: Uint8Array,
  endorsements: readonly Uint8Array[],
  { roots, at }: { roots: NonEmpty<string>; at: Date },
): AuthenticSnpReport {
  const report = readSnpReport(bytes);
  const what = "SEV-SNP's certificates";
  const chain = readCertificates(endorsements, what);
  const certificate = verifyChain(chain, { roots, at, what });
  const [, authority, root, ...more] = chain;
  if (authority === undefined || root === undefined || more.length > 0) {
    throw new AttestationError("MALFORMED", `${what} are not a processor's, an authority's and a root's`);
  }
  const key = certificate.publicKey;
  if (key.asymmetricKeyDetails?.namedCurve !== "secp384r1") {
    throw new AttestationError("UNSUPPORTED", "SEV-SNP: the processor's key is not on P-384");
  }
  const product = productOf(certificate);
  const tcb = readTcb(report.reportedTcb, product);
  checkCertificateIsFor(report, certificate, product, tcb);
  if (!verify("sha384", report.signed, { key, dsaEncoding: "ieee-p1363" }, report.signature)) {
    throw new AttestationError("SIGNATURE", "the SEV-SNP report's signature is wrong");
  }
  const cspId = report.signedBy === "VLEK" ? nameIn(cspIdOf(certificate), "SEV-SNP: csp_id") : undefined;
  return { ...report, product, tcb, cspId, authority, root, at };
}

/** Compares an authentic report with what is pinned. @throws AttestationError */
export function appraiseSnp(report: AuthenticSnpReport, pins: SnpPins): Verified {
  return {
    type: "sev-snp",
    ...appraiseSnpPlatform(report, pins),
    identity: comparePins(pins.identity, identityOf(report), "IDENTITY", "the SEV-SNP report"),
  };
}

/** The same but for whose guest it is. @throws AttestationError */
export function appraiseSnpPlatform(
  report: AuthenticSnpReport,
  pins: SnpPlatformPins,
): Pick<Verified, "measurements" | "warnings"> {
  checkRevocation(report, pins.revocation);
  checkGuestPolicy(report.policy, pins.guestMay);
  checkPlatform(report.platformInfo, pins.platformMust);
  if (report.vmpl !== pins.vmpl) {
    throw new AttestationError(
      "MEASUREMENT",
      `SEV-SNP: VMPL ${report.vmpl} asked for the report, expected ${pins.vmpl}`,
    );
  }
  // What runs may be newer than what is reported; and what launched the guest saw its memory, and could have kept of it what it liked.
  checkMinimumTcb("reported", report.tcb, pins.minTcb);
  for (const [which, bytes] of [
    ["current", report.currentTcb],
    ["committed", report.committedTcb],
    ["launch", report.launchTcb],
  ] as const) {
    checkMinimumTcb(which, readTcb(bytes, report.product), pins.minTcb);
  }
  const warnings = checkKnownBroken(report.product, pins.acceptKnownBroken);
  const pinned = [{ name: "measurement", values: pins.measurements }] as const;
  const found = { measurement: report.measurement.toString("hex") };
  return { measurements: comparePins(pinned, found, "MEASUREMENT", "the SEV-SNP report"), warnings };
}

function identityOf({ signedBy, chipId, cspId, hostData, ...report }: AuthenticSnpReport): Record<string, string> {
  return {
    ...(signedBy === "VCEK" ? { chip_id: chipId.toString("hex") } : { csp_id: cspId ?? "" }),
    host_data: hostData.toString("hex"),
    id_key_digest: report.idKeyDigest.toString("hex"),
    ...(report.authorKeyEnabled ? { author_key_digest: report.authorKeyDigest.toString("hex") } : {}),
  };
}

/** A key is derived from the chip and its firmware's versions; the certificate has to name the ones of this report. */
function checkCertificateIsFor(report: SnpReport, certificate: Certificate, product: SnpProduct, tcb: SnpTcb): void {
  const certified = certifiedTcb(certificate, product);
  for (const part of tcbParts) {
    if (certified[part] !== tcb[part]) {
      const versions = `the report's ${part} is ${tcb[part]}, the certificate's ${certified[part]}`;
      throw new AttestationError("TCB", `SEV-SNP: the certificate is for other firmware: ${versions}`);
    }
  }
  if (report.cpu !== undefined && productOfCpu(report.cpu) !== product) {
    throw new AttestationError(
      "IDENTITY",
      `SEV-SNP: the certificate is for ${product}, the report is of another processor`,
    );
  }
  if (report.signedBy === "VLEK") {
    cspIdOf(certificate); // a VCEK has none
    return;
  }
  const certifiedId = Buffer.alloc(64);
  hardwareIdOf(certificate, product).copy(certifiedId);
  compareBytes(report.chipId, certifiedId, "IDENTITY", "chip_id of the SEV-SNP report");
}

function productOfCpu({ family, model }: { family: number; model: number }): SnpProduct | undefined {
  if (family === 0x1a) return model < 0x20 ? "Turin" : undefined;
  if (family !== 0x19) return undefined;
  if (model < 0x10) return "Milan";
  return model < 0x20 || (model >= 0xa0 && model < 0xb0) ? "Genoa" : undefined;
}

function checkMinimumTcb(which: string, tcb: SnpTcb, minimum: SnpTcb): void {
  for (const part of tcbParts) {
    // Written so that NaN fails too.
    if (tcb[part] >= minimum[part]) continue;
    throw new AttestationError(
      "TCB",
      `SEV-SNP: ${part} (${which}) is of version ${tcb[part]}, expected at least ${minimum[part]}`,
    );
  }
}

function checkKnownBroken(product: SnpProduct, accepted: readonly string[]): string[] {
  const broken = knownBroken[product];
  if (broken === undefined) return [];
  if (accepted.includes(broken)) return [`reports of ${product} can be forged (${broken}); the policy accepts that`];
  throw new AttestationError(
    "TCB",
    `SEV-SNP: reports of ${product} can be forged (${broken}), and the policy does not accept that`,
  );
}
