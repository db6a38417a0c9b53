import { TpmFormatError } from "../../tpm2/marshal.ts";
import { marshalSignature, parseSignature, type TpmSignature } from "../../tpm2/signature.ts";
import { AttestationError } from "../evidence.ts";
import { Json } from "../json.ts";

/**
 * What a worker in a confidential VM of Azure gives as evidence. Its endorsements are those of the hardware: for SEV-SNP
 * the VCEK's certificate, ASK and ARK; for TDX one collateral document.
 */
export interface AzureEvidence {
  hardware: "sev-snp" | "tdx";
  /** A report of SEV-SNP, or a quote of TDX, over the SHA-256 of the runtime claims. */
  report: Uint8Array;
  /** The paravisor's, to the byte: see `readHclReport`. */
  runtimeClaims: Uint8Array;
  /** TPMS_ATTEST by the vTPM's attestation key, which the runtime claims name. */
  attest: Uint8Array;
  signature: TpmSignature;
  /** The SHA-256 bank: a value of 32 bytes for each PCR that was quoted. */
  pcrs: ReadonlyMap<number, Uint8Array>;
}

const fields = ["version", "hardware", "report", "runtime_claims", "attest", "signature", "pcrs"];
const VERSION = 1;

/** Compact JSON. */
export function formatAzureEvidence(evidence: AzureEvidence): Buffer {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  const values = [...evidence.pcrs].sort(([a], [b]) => a - b);
  return Buffer.from(
    JSON.stringify({
      version: VERSION,
      hardware: evidence.hardware,
      report: base64(evidence.report),
      runtime_claims: base64(evidence.runtimeClaims),
      attest: base64(evidence.attest),
      signature: base64(marshalSignature(evidence.signature)),
      pcrs: Object.fromEntries(values.map(([pcr, value]) => [pcr, Buffer.from(value).toString("hex")])),
    }),
  );
}

/** Takes only what `formatAzureEvidence` makes, to the byte. @throws AttestationError MALFORMED, UNSUPPORTED */
export function parseAzureEvidence(bytes: Uint8Array): AzureEvidence {
  const json = Json.parse(bytes, "azure-cvm").only(fields);
  json.field("version").oneOf([VERSION]);
  const parsed: AzureEvidence = {
    hardware: json.field("hardware").oneOf(["sev-snp", "tdx"]),
    report: json.field("report").base64(),
    runtimeClaims: json.field("runtime_claims").base64(),
    attest: json.field("attest").base64(),
    signature: readSignature(json.field("signature").base64()),
    pcrs: new Map(
      json
        .field("pcrs")
        .entries()
        .map(([pcr, value]) => [Number(pcr), value.hex(32)]),
    ),
  };
  if (!formatAzureEvidence(parsed).equals(bytes)) {
    throw new AttestationError("MALFORMED", "azure-cvm: the evidence is not in its one canonical form");
  }
  return parsed;
}

function readSignature(bytes: Buffer): TpmSignature {
  try {
    return parseSignature(bytes);
  } catch (cause) {
    if (!(cause instanceof TpmFormatError)) throw cause;
    throw new AttestationError("MALFORMED", `azure-cvm: ${cause.message}`, { cause });
  }
}
