import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

import { type AzureEvidence, formatAzureEvidence } from "../azure-cvm/azure-evidence.ts";
import type { AzurePins } from "../azure-cvm/verify.ts";
import { type Evidence, mediaTypes } from "../evidence.ts";
import { createSnpExample } from "./sev-snp-example.ts";
import { createTdxExample } from "./tdx-example.ts";
import { createQuotingKey, type Quoted } from "./tpm2.ts";

/** A confidential VM in good order, and what would be pinned of it: a test changes what it is about. */
export interface AzureExample {
  pins: AzurePins;
  claims: object;
  endorsements: readonly Uint8Array[];
  /** What the worker would send, in parts. */
  parts: (changes?: AzureChanges) => AzureEvidence;
  evidence: (changes?: AzureChanges) => Evidence;
}

export interface AzureChanges {
  quoted?: Partial<Quoted>;
  /** Another key than the one that the claims name. */
  key?: KeyObject;
  /** Other runtime claims than those that the hardware vouches for. */
  claims?: object;
}

/** Making a key on RSA takes half a second now and then; most tests are not about whose it is. */
const usualKey = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;

/**
 * PCRs 0 to 11 are filled with their number plus 1. `claims` replaces the paravisor's, before the
 * hardware vouches for them; `ak` the vTPM's attestation key; `vmpl` is who asked SEV-SNP for the report.
 */
export function createAzureExample(
  at: Date,
  reportData: Buffer,
  hardware: AzureEvidence["hardware"],
  given: { claims?: object; ak?: KeyObject; vmpl?: number } = {},
): AzureExample {
  const ak = given.ak ?? usualKey;
  const claims = given.claims ?? runtimeClaims(ak);
  const bytes = Buffer.from(JSON.stringify(claims));
  const silicon =
    hardware === "sev-snp" ? snpSilicon(at, digest(bytes), given.vmpl ?? 0) : tdxSilicon(at, digest(bytes));
  const pcrs = new Map(Array.from({ length: 12 }, (_, pcr) => [pcr, Buffer.alloc(32, pcr + 1)]));
  const parts: AzureExample["parts"] = ({ quoted, key = ak, claims: other } = {}) => {
    const { attest } = createQuotingKey().quote({ extraData: reportData, pcrs, ...quoted });
    return {
      hardware,
      report: silicon.report,
      runtimeClaims: other === undefined ? bytes : Buffer.from(JSON.stringify(other)),
      attest,
      signature: { scheme: "rsassa", hash: "sha256", value: sign("sha256", attest, key) },
      pcrs: quoted?.pcrs ?? pcrs,
    };
  };
  return {
    claims,
    endorsements: silicon.endorsements,
    pins: {
      silicon: silicon.pinned,
      code: [{ name: "pcr11", values: ["0c".repeat(32)] }],
      identity: [{ name: "ak_key", values: [akKey(ak)] }],
    },
    parts,
    evidence: (changes) => ({
      mediaType: mediaTypes["azure-cvm"],
      evidence: formatAzureEvidence(parts(changes)),
      endorsements: silicon.endorsements,
    }),
  };
}

interface Silicon {
  report: Buffer;
  endorsements: readonly Buffer[];
  pinned: AzurePins["silicon"];
}

function snpSilicon(at: Date, reportData: Buffer, vmpl: number): Silicon {
  const { report, certificates, pins } = createSnpExample(at, reportData);
  return { report: report({ vmpl }), endorsements: certificates, pinned: { type: "sev-snp", pins: { ...pins, vmpl } } };
}

function tdxSilicon(at: Date, reportData: Buffer): Silicon {
  const { quote, collateral, pins } = createTdxExample(at, reportData);
  return { report: quote(), endorsements: [collateral()], pinned: { type: "tdx", pins } };
}

function runtimeClaims(ak: KeyObject): object {
  const { n, e } = ak.export({ format: "jwk" });
  return {
    keys: [{ kid: "HCLAkPub", key_ops: ["sign"], kty: "RSA", e, n }],
    "vm-configuration": {
      "secure-boot": true,
      "tpm-enabled": true,
      vmUniqueId: "00000000-0000-4000-8000-00000000000A",
    },
    "user-data": "00".repeat(64),
  };
}

function akKey(ak: KeyObject): string {
  return digest(createPublicKey(ak).export({ format: "der", type: "spki" })).toString("hex");
}

function digest(bytes: Buffer): Buffer {
  return createHash("sha256").update(bytes).digest();
}
