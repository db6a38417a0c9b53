import { createHash, createPublicKey, type KeyObject } from "node:crypto";

import {
  AttestationError,
  type Evidence,
  type EvidenceVerifier,
  type Expected,
  type NonEmpty,
  type Verified,
} from "../evidence.ts";
import { checkIntake } from "../intake.ts";
import { Json } from "../json.ts";
import { compareBytes, comparePins, fullReportData, type Pin } from "../pins.ts";
import { appraiseSnpPlatform, authenticateSnp, type SnpPlatformPins } from "../sev-snp/verify.ts";
import { appraiseTdxPlatform, authenticateTdx, type TdxPlatformPins } from "../tdx/verify.ts";
import { verifyQuote } from "../tpm2.ts";
import { nameIn } from "../x509.ts";
import { type AzureEvidence, parseAzureEvidence } from "./azure-evidence.ts";

/** What is pinned of a confidential VM of Azure. */
export interface AzurePins {
  /** The hardware, and by its measurement the paravisor, which runs the vTPM. */
  silicon: AzureSilicon;
  /** Which code: `pcr0` to `pcr23` of the vTPM's SHA-256 bank, 64 hex characters. */
  code: NonEmpty<Pin<`pcr${number}`>>;
  /**
   * Whose: `ak_key` (SHA-256 of the SPKI of the vTPM's attestation key), or `vm_id` (Azure's `vmUniqueId`, as text): whoever hosts a VM
   * chooses that one, so that alone it tells VMs of Azure's apart, and means something to a stranger only together with the identity key inside the claims.
   */
  identity: NonEmpty<Pin<"ak_key" | "vm_id">>;
}

export type AzureSilicon = { type: "sev-snp"; pins: SnpPlatformPins } | { type: "tdx"; pins: TdxPlatformPins };

/** The larger of two kinds: a quote of TDX takes 8,000 bytes, its collateral 20,000 and more. */
const limits = {
  "sev-snp": { evidenceBytes: 32_768, endorsements: 3, endorsementBytes: 8192 },
  tdx: { evidenceBytes: 32_768, endorsements: 1, endorsementBytes: 262_144 },
};

/**
 * Confidential VMs of Azure: silicon vouches for the paravisor and its claims, these name the vTPM's attestation key, and
 * that key's quote covers the PCRs and the report data.
 */
export const azureVerifier: EvidenceVerifier<AzurePins> = {
  type: "azure-cvm",
  verify(evidence: Evidence, { reportData, at }: Expected, pins: AzurePins): Verified {
    checkIntake("azure-cvm", evidence, limits[pins.silicon.type]);
    const read = parseAzureEvidence(evidence.evidence);
    return appraiseAzure(read, evidence.endorsements, { extraData: reportData, at }, pins);
  },
};

/** Verifies all of it, for whatever the quote is to include. @throws AttestationError */
export function appraiseAzure(
  evidence: AzureEvidence,
  endorsements: readonly Uint8Array[],
  { extraData, at }: { extraData: Uint8Array; at: Date },
  { silicon, code, identity }: AzurePins,
): Verified {
  if (evidence.hardware !== silicon.type) {
    throw new AttestationError(
      "NOT_ACCEPTED",
      `azure-cvm: the hardware is ${evidence.hardware}, expected ${silicon.type}`,
    );
  }
  const platform = appraiseSilicon(evidence, endorsements, at, silicon);
  const { key, found } = readRuntimeClaims(evidence.runtimeClaims);
  const { attest, signature, pcrs } = evidence;
  const quoted = verifyQuote({ key, attest, signature, pcrs, extraData, code });
  return {
    type: "azure-cvm",
    measurements: { ...platform.measurements, ...quoted.measurements },
    identity: { ...found, ...comparePins(identity, found, "IDENTITY", "azure-cvm") },
    warnings: platform.warnings,
  };
}

function appraiseSilicon(
  { report, runtimeClaims }: AzureEvidence,
  endorsements: readonly Uint8Array[],
  at: Date,
  silicon: AzureSilicon,
): Pick<Verified, "measurements" | "warnings"> {
  const covered = fullReportData(createHash("sha256").update(runtimeClaims).digest());
  const what = "azure-cvm: what the hardware vouches for instead of the runtime claims";
  const { roots } = silicon.pins;
  if (silicon.type === "sev-snp") {
    const authentic = authenticateSnp(report, endorsements, { roots, at });
    compareBytes(authentic.reportData, covered, "REPORT_DATA", what);
    // The paravisor's word, and nobody's whom it looks after: a guest may ask for reports too, over claims of its own.
    return appraiseSnpPlatform(authentic, { ...silicon.pins, vmpl: PARAVISOR_VMPL });
  }
  const authentic = authenticateTdx(report, endorsements[0] ?? new Uint8Array(), { roots, at });
  compareBytes(authentic.td.reportData, covered, "REPORT_DATA", what);
  return appraiseTdxPlatform(authentic, silicon.pins);
}

const PARAVISOR_VMPL = 0;
const ATTESTATION_KEY = "HCLAkPub";

/**
 * Reads the paravisor's claims; that hardware vouches for them is for the caller to see. The attestation key is the paravisor's word: it
 * made it, restricted and never to leave the vTPM. @throws AttestationError MALFORMED
 */
export function readRuntimeClaims(bytes: Uint8Array): { key: KeyObject; found: Record<"ak_key" | "vm_id", string> } {
  const claims = Json.parse(bytes, "azure-cvm: the runtime claims");
  const keys = claims.field("keys").list();
  const [jwk, ...more] = keys.filter((candidate) => candidate.field("kid").text() === ATTESTATION_KEY);
  if (jwk === undefined || more.length > 0) {
    throw new AttestationError("MALFORMED", `azure-cvm: the runtime claims do not name one ${ATTESTATION_KEY}`);
  }
  jwk.field("kty").oneOf(["RSA"]);
  const [n, e] = [jwk.field("n").base64url(), jwk.field("e").base64url()].map((part) => part.toString("base64url"));
  const key = rsaKey(n ?? "", e ?? "");
  const spki = key.export({ format: "der", type: "spki" });
  return {
    key,
    found: {
      ak_key: createHash("sha256").update(spki).digest("hex"),
      vm_id: nameIn(claims.field("vm-configuration").field("vmUniqueId").text(), "azure-cvm: vmUniqueId"),
    },
  };
}

function rsaKey(n: string, e: string): KeyObject {
  try {
    return createPublicKey({ format: "jwk", key: { kty: "RSA", n, e } });
  } catch (cause) {
    throw new AttestationError("MALFORMED", `azure-cvm: ${ATTESTATION_KEY} is no RSA key`, { cause });
  }
}
