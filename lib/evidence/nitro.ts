import { verify } from "node:crypto";

import { type Cbor, CborTag, decodeCbor, encodeCbor } from "./cbor.ts";
import { readCertificates, verifyChain } from "./chain.ts";
import {
  AttestationError,
  type Evidence,
  type EvidenceVerifier,
  type Expected,
  type NonEmpty,
  type Verified,
} from "./evidence.ts";
import { checkIntake } from "./intake.ts";
import { type AgeLimits, checkAge, compareBytes, comparePins, type Pin } from "./pins.ts";
import { type Certificate, nameIn, printable } from "./x509.ts";

/** SHA-256 of the certificate `aws.nitro-enclaves` (G1), the root of every document that AWS issues. */
export const AWS_NITRO_ROOT = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b";

/** What is pinned of a Nitro enclave, or of an EC2 instance with NitroTPM. */
export interface NitroPins extends AgeLimits {
  /** Whose PCRs the document has to carry: `pcrs` (an enclave) or `nitrotpm_pcrs` (an instance). */
  source: "enclave" | "nitrotpm";
  /** SHA-256 of root certificates: `AWS_NITRO_ROOT`. */
  roots: NonEmpty<string>;
  /** Which code. Enclave: `pcr0` (image), `pcr1`, `pcr2`; NitroTPM: `pcr4`, `pcr7`, `pcr11`. SHA-384, 96 hex characters. */
  code: NonEmpty<Pin<PcrName>>;
  /**
   * Whose: `pcr3` (role of the parent instance), `pcr4` (the instance, of an enclave), `pcr8` (who signed the image), or
   * `module_id` (as text), since everybody can run the same image in an account of their own.
   */
  identity: NonEmpty<Pin<PcrName | "module_id">>;
}

export type PcrName = `pcr${number}`;

/** What a document says, once its signature is known to be AWS's. */
export interface NitroDocument {
  moduleId: string;
  madeAt: Date;
  source: "enclave" | "nitrotpm";
  /** `pcr0` … in lower-case hex. */
  pcrs: Readonly<Record<PcrName, string>>;
  publicKey: Buffer | undefined;
  userData: Buffer | undefined;
  nonce: Buffer | undefined;
}

/**
 * Documents of the Nitro hypervisor: COSE_Sign1 (RFC 9052) with ES384, as AWS's "nitro_enclaves attestation process" has
 * it. `nonce` is the caller's, `user_data` the report data.
 */
export const nitroVerifier: EvidenceVerifier<NitroPins> = {
  type: "aws-nitro",
  verify(evidence: Evidence, { nonce, reportData, at }: Expected, pins: NitroPins): Verified {
    // A document brings its certificates itself.
    checkIntake("aws-nitro", evidence, { evidenceBytes: MAX_DOCUMENT_BYTES, endorsements: 0 });
    const document = authenticateNitro(evidence.evidence, { roots: pins.roots, at });
    compareBytes(document.nonce, nonce, "NONCE", "the nonce of the Nitro document");
    compareBytes(document.userData, reportData, "REPORT_DATA", "user_data of the Nitro document");
    return appraiseNitro(document, at, pins);
  },
};

const MAX_DOCUMENT_BYTES = 16_384;
const ES384 = -35;
const COSE_SIGN1 = 18;

/** Reads a document and verifies that it was signed under a pinned root. @throws AttestationError */
export function authenticateNitro(
  bytes: Uint8Array,
  { roots, at }: { roots: NonEmpty<string>; at: Date },
): NitroDocument {
  const { protectedHeader, payload, signature } = readCoseSign1(decodeCbor(bytes));
  const fields = readPayload(payload);
  const chain = certificatesOf(fields);
  const leaf = verifyChain(chain, { roots, at, what: "the Nitro document's certificates" });
  checkShortLived(chain);
  checkSignature(leaf, protectedHeader, payload, signature);
  if (fields.get("digest") !== "SHA384") throw unsupported("has another digest than SHA384");
  const timestamp = fields.get("timestamp");
  if (typeof timestamp !== "number" || timestamp <= 0) throw malformed("has no timestamp");
  const moduleId = fields.get("module_id");
  if (typeof moduleId !== "string") throw malformed("has no module_id");
  const source = fields.has("nitrotpm_pcrs") ? "nitrotpm" : "enclave";
  return {
    moduleId: nameIn(moduleId, "module_id of the Nitro document"),
    madeAt: new Date(timestamp),
    source,
    pcrs: readPcrs(fields.get(source === "enclave" ? "pcrs" : "nitrotpm_pcrs")),
    publicKey: optionalBytes(fields, "public_key", 1024),
    userData: optionalBytes(fields, "user_data", 512),
    nonce: optionalBytes(fields, "nonce", 512),
  };
}

/** Compares an authentic document with what is pinned. @throws AttestationError */
export function appraiseNitro(document: NitroDocument, at: Date, pins: NitroPins): Verified {
  const { moduleId, madeAt, source, pcrs, publicKey } = document;
  checkAge(madeAt, at, pins, "the Nitro document");
  if (source !== pins.source) {
    throw new AttestationError("MEASUREMENT", `the Nitro document has PCRs of ${source}, expected ${pins.source}`);
  }
  if (source === "enclave") refuseDebug(pcrs);
  return {
    type: "aws-nitro",
    measurements: comparePins(pins.code, pcrs, "MEASUREMENT", "the Nitro document"),
    identity: {
      module_id: moduleId,
      ...(publicKey === undefined ? {} : { public_key: publicKey.toString("hex") }),
      ...comparePins(pins.identity, { ...pcrs, module_id: moduleId }, "IDENTITY", "the Nitro document"),
    },
    madeAt,
    warnings: [],
  };
}

/** An enclave in debug mode has zeros in PCRs 0 to 2, and its console shows what it does. */
function refuseDebug(pcrs: NitroDocument["pcrs"]): void {
  for (const name of ["pcr0", "pcr1", "pcr2"] as const) {
    const value = pcrs[name];
    if (value === undefined || /^0+$/.test(value)) {
      throw new AttestationError("DEBUG", `the Nitro document has no ${name}: the enclave runs in debug mode`);
    }
  }
}

interface CoseSign1 {
  protectedHeader: Buffer;
  payload: Buffer;
  signature: Buffer;
}

function readCoseSign1(item: Cbor): CoseSign1 {
  const value = item instanceof CborTag && item.tag === COSE_SIGN1 ? item.value : item;
  if (!Array.isArray(value) || value.length !== 4) throw malformed("is not COSE_Sign1");
  const [protectedHeader, unprotected, payload, signature] = value as readonly Cbor[];
  if (!Buffer.isBuffer(protectedHeader) || !Buffer.isBuffer(payload) || !Buffer.isBuffer(signature)) {
    throw malformed("is not COSE_Sign1");
  }
  if (!(unprotected instanceof Map) || unprotected.size !== 0) throw unsupported("has unprotected headers");
  const header = decodeCbor(protectedHeader);
  if (!(header instanceof Map) || header.size !== 1 || header.get(1) !== ES384) {
    throw unsupported("is not signed with ES384, or has further headers");
  }
  return { protectedHeader, payload, signature };
}

type Fields = ReadonlyMap<string | number, Cbor>;

const knownFields = new Set<string | number>([
  "module_id",
  "timestamp",
  "digest",
  "pcrs",
  "nitrotpm_pcrs",
  "certificate",
  "cabundle",
  "public_key",
  "user_data",
  "nonce",
]);

function readPayload(payload: Buffer): Fields {
  const fields = decodeCbor(payload);
  if (!(fields instanceof Map)) throw malformed("has no map as its payload");
  for (const key of (fields as Fields).keys()) {
    if (!knownFields.has(key)) throw unsupported(`has the field "${printable(String(key))}", which is unknown`);
  }
  if (fields.has("pcrs") === fields.has("nitrotpm_pcrs")) throw malformed("has PCRs of no source, or of two");
  return fields as Fields;
}

/** The bundle begins with the root; a chain ends with it. */
function certificatesOf(fields: Fields): Certificate[] {
  const bundle = fields.get("cabundle");
  const certificate = fields.get("certificate");
  if (!Array.isArray(bundle)) throw malformed("has no cabundle");
  const list = [certificate, ...(bundle as readonly Cbor[]).toReversed()];
  if (!list.every((item) => Buffer.isBuffer(item))) throw malformed("has certificates that are not bytes");
  return readCertificates(list, "the Nitro document's certificates");
}

/** 20 days is the longest that AWS issues below its root, hours for what signs. */
const MAX_LIFETIME_MS = 45 * 86_400_000;

/** AWS's revocation lists are not read, for documents are appraised at once and what signs them ends soon. So it has to. */
function checkShortLived(chain: readonly Certificate[]): void {
  const long = chain.slice(0, -1).find(({ notBefore, notAfter }) => +notAfter - +notBefore > MAX_LIFETIME_MS);
  if (long !== undefined) throw unsupported(`has a certificate, "${long.name}", that is valid for more than 45 days`);
}

function checkSignature(leaf: Certificate, protectedHeader: Buffer, payload: Buffer, signature: Buffer): void {
  const key = leaf.publicKey;
  if (key.asymmetricKeyDetails?.namedCurve !== "secp384r1")
    throw unsupported("is signed by a key that is not on P-384");
  // RFC 9052 section 4.4; there is no external data.
  const signed = encodeCbor(["Signature1", protectedHeader, Buffer.alloc(0), payload]);
  if (!verify("sha384", signed, { key, dsaEncoding: "ieee-p1363" }, signature)) {
    throw new AttestationError("SIGNATURE", "the Nitro document's signature is wrong");
  }
}

function readPcrs(item: Cbor | undefined): Record<PcrName, string> {
  if (!(item instanceof Map) || item.size < 1 || item.size > 32) throw malformed("has no PCRs");
  const pcrs: Record<PcrName, string> = {};
  for (const [index, value] of item as Fields) {
    if (typeof index !== "number" || index < 0 || index > 31) throw malformed("has a PCR that does not exist");
    if (!Buffer.isBuffer(value) || value.length !== 48) throw malformed(`has a PCR ${index} that is not SHA-384`);
    pcrs[`pcr${index}`] = value.toString("hex");
  }
  return pcrs;
}

function optionalBytes(fields: Fields, name: string, maximum: number): Buffer | undefined {
  const value = fields.get(name) ?? null;
  if (value === null) return undefined;
  if (!Buffer.isBuffer(value) || value.length > maximum)
    throw malformed(`has a ${name} that is not bytes, or too long`);
  return value;
}

function malformed(what: string): AttestationError {
  return new AttestationError("MALFORMED", `the Nitro document ${what}`);
}

function unsupported(what: string): AttestationError {
  return new AttestationError("UNSUPPORTED", `the Nitro document ${what}`);
}
