import { marshalPublic, parsePublic, type TpmPublic } from "../tpm2/public-area.ts";
import { marshalSignature, parseSignature, type TpmSignature } from "../tpm2/signature.ts";
import { AttestationError } from "./evidence.ts";

/** What a worker with a TPM gives as evidence. Its endorsements are the endorsement key's certificate and those above it, the root last. */
export interface Tpm2Evidence {
  /** TPMS_ATTEST as the TPM made it. */
  attest: Uint8Array;
  signature: TpmSignature;
  /** The attestation key. */
  akPublic: TpmPublic;
  /** The endorsement key, for a credential challenge; absent where the TPM has none at the usual place. */
  ekPublic?: TpmPublic;
  /** The SHA-256 bank: a value of 32 bytes for each PCR that was quoted. */
  pcrs: ReadonlyMap<number, Uint8Array>;
}

export const MAX_TPM2_EVIDENCE = 16 * 1024;

const VERSION = 1;
const PCR_BYTES = 32;

/** JSON, without spaces, in the order that stands here: there is one text for each evidence. */
export function formatTpm2Evidence({ attest, signature, akPublic, ekPublic, pcrs }: Tpm2Evidence): Buffer {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  const values = [...pcrs]
    .sort(([a], [b]) => a - b)
    .map(([pcr, value]) => [pcr, Buffer.from(value).toString("hex")] as const);
  return Buffer.from(
    JSON.stringify({
      version: VERSION,
      attest: base64(attest),
      signature: base64(marshalSignature(signature)),
      ak_public: base64(marshalPublic(akPublic)),
      ...(ekPublic && { ek_public: base64(marshalPublic(ekPublic)) }),
      pcrs: Object.fromEntries(values),
    }),
  );
}

/** Takes only what `formatTpm2Evidence` makes, to the byte. @throws AttestationError MALFORMED, UNSUPPORTED; TpmFormatError */
export function parseTpm2Evidence(bytes: Uint8Array): Tpm2Evidence {
  const json = objectOf(parseJson(bytes));
  if (json["version"] !== VERSION)
    throw new AttestationError("UNSUPPORTED", `tpm2: evidence of another version than ${VERSION}`);
  const ekPublic = json["ek_public"];
  const parsed: Tpm2Evidence = {
    attest: bytesOf(json["attest"], "base64"),
    signature: parseSignature(bytesOf(json["signature"], "base64")),
    akPublic: parsePublic(bytesOf(json["ak_public"], "base64")),
    ...(ekPublic !== undefined && { ekPublic: parsePublic(bytesOf(ekPublic, "base64")) }),
    pcrs: new Map(Object.entries(objectOf(json["pcrs"])).map(([pcr, value]) => [Number(pcr), pcrOf(value)])),
  };
  if (!formatTpm2Evidence(parsed).equals(bytes)) {
    throw new AttestationError("MALFORMED", "tpm2: the evidence is not in its one canonical form");
  }
  return parsed;
}

function pcrOf(value: unknown): Buffer {
  const bytes = bytesOf(value, "hex");
  if (bytes.length !== PCR_BYTES) throw new AttestationError("MALFORMED", "tpm2: a PCR value is not 32 bytes");
  return bytes;
}

function bytesOf(value: unknown, encoding: "base64" | "hex"): Buffer {
  if (typeof value !== "string") throw new AttestationError("MALFORMED", "tpm2: the evidence lacks a field");
  return Buffer.from(value, encoding);
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new AttestationError("MALFORMED", "tpm2: the evidence is no JSON object of the fields it should have");
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
