import { createHash, type KeyObject, X509Certificate } from "node:crypto";

import {
  bitStringOf,
  booleanOf,
  childrenOf,
  contentOf,
  type Der,
  derTag,
  oidOf,
  readDer,
  sequenceOf,
  smallIntegerOf,
  timeOf,
  unsignedOf,
} from "./der.ts";
import { AttestationError } from "./evidence.ts";
import { readSignatureAlgorithm } from "./signature-algorithm.ts";

/** A certificate of RFC 5280, version 3, read strictly. Nothing about it is verified yet: `verifyChain` does that. */
export interface Certificate {
  readonly x509: X509Certificate;
  readonly publicKey: KeyObject;
  readonly der: Buffer;
  /** SHA-256 of the DER, lower-case hex: what a root is pinned by. */
  readonly fingerprint: string;
  /** The subject's common name, fit for a message. */
  readonly name: string;
  /** Lower-case hex without leading zeros: what revocation lists name. */
  readonly serial: string;
  /** The DER of the names. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: ReadonlyMap<string, { critical: boolean; value: Buffer }>;
  readonly ca: boolean;
  readonly pathLength: number | undefined;
  /** RFC 5280 section 4.2.1.3; absent where the certificate says nothing. */
  readonly usage: Readonly<Record<keyof typeof usageBits, boolean>> | undefined;
  /** Object identifiers of RFC 5280 section 4.2.1.12; absent where the certificate says nothing. */
  readonly extendedUsage: readonly string[] | undefined;
}

/** The largest seen is 1,800 bytes (AMD's, with RSA-4096). */
const MAX_CERTIFICATE_BYTES = 8192;

/** Reads one certificate in DER. @throws AttestationError MALFORMED, UNSUPPORTED */
export function readCertificate(bytes: Uint8Array): Certificate {
  if (bytes.length > MAX_CERTIFICATE_BYTES) throw malformed("is too long");
  const outer = readDer(bytes);
  const [tbs, algorithm, signature, ...more] = sequenceOf(outer);
  if (tbs === undefined || more.length > 0) throw malformed("is not three values");
  if (bitStringOf(signature).unused !== 0) throw malformed("has a signature that is not whole octets");
  const [version, serial, innerAlgorithm, issuer, validity, subject, , ...optional] = sequenceOf(tbs);
  if (version?.tag !== 0xa0 || smallIntegerOf(childrenOf(version)[0]) !== 2) throw unsupported("is not of version 3");
  if (!algorithm || !innerAlgorithm?.encoded.equals(algorithm.encoded))
    throw malformed("names two signature algorithms");
  readSignatureAlgorithm(algorithm, "a certificate");
  const [notBefore, notAfter] = sequenceOf(validity);
  const extensions = readExtensions(optional.find(({ tag }) => tag === 0xa3));
  const { x509, publicKey } = openCertificate(outer.encoded);
  checkKeyStrength(publicKey);
  return {
    x509,
    publicKey,
    der: outer.encoded,
    fingerprint: createHash("sha256").update(outer.encoded).digest("hex"),
    name: printable(/^CN=(.*)$/m.exec(x509.subject)?.[1] ?? "without a name"),
    serial: unsignedOf(serial).toString("hex"),
    issuer: issuer?.encoded ?? Buffer.alloc(0),
    subject: subject?.encoded ?? Buffer.alloc(0),
    notBefore: timeOf(notBefore),
    notAfter: timeOf(notAfter),
    extensions,
    ...readBasicConstraints(extensions.get("2.5.29.19")?.value),
    usage: readKeyUsage(extensions.get("2.5.29.15")?.value),
    extendedUsage: readExtendedUsage(extensions.get("2.5.29.37")?.value),
  };
}

/** Extensions of a certificate or revocation list, inside their explicit tag, by their dotted name. */
export function readExtensions(wrapper: Der | undefined): Map<string, { critical: boolean; value: Buffer }> {
  const extensions = new Map<string, { critical: boolean; value: Buffer }>();
  if (wrapper === undefined) return extensions;
  const [list, ...more] = childrenOf(wrapper);
  if (more.length > 0) throw malformed("has two lists of extensions");
  for (const extension of sequenceOf(list)) {
    const [oid, second, third, ...rest] = sequenceOf(extension);
    const name = oidOf(oid);
    if (rest.length > 0) throw malformed(`has more than a value in the extension ${name}`);
    if (extensions.has(name)) throw malformed(`has the extension ${name} twice`);
    const critical = third !== undefined && booleanOf(second);
    extensions.set(name, { critical, value: contentOf(third ?? second, derTag.octetString) });
  }
  return extensions;
}

/** Text of evidence that names whose it is: compared as a whole, so it has to be printable ASCII, 128 characters at most. @throws AttestationError MALFORMED */
export function nameIn(text: string, what: string): string {
  if (/^[ -~]{1,128}$/.test(text)) return text;
  throw new AttestationError("MALFORMED", `${what} is no name: it is empty, too long or not printable`);
}

/** Text that came with evidence, made fit for a message: printable ASCII, 64 characters at most. */
export function printable(text: string): string {
  return text.replace(/[^ -~]/g, "?").slice(0, 64);
}

const curves = new Set(["prime256v1", "secp384r1", "secp521r1"]);

function checkKeyStrength(key: KeyObject): void {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === "ec" && curves.has(details?.namedCurve ?? "")) return;
  const rsa = key.asymmetricKeyType === "rsa" || key.asymmetricKeyType === "rsa-pss";
  const exponent = details?.publicExponent ?? 0n;
  if (rsa && (details?.modulusLength ?? 0) >= 2048 && exponent >= 3n && exponent < 1n << 32n) return;
  throw unsupported("has a key that is neither on P-256, P-384 or P-521 nor RSA of 2048 bits or more");
}

function openCertificate(encoded: Buffer): { x509: X509Certificate; publicKey: KeyObject } {
  try {
    const x509 = new X509Certificate(encoded);
    return { x509, publicKey: x509.publicKey }; // which is decoded only when asked for, and may throw then
  } catch (cause) {
    throw new AttestationError("MALFORMED", "a certificate cannot be read", { cause });
  }
}

function readBasicConstraints(value: Buffer | undefined): { ca: boolean; pathLength: number | undefined } {
  if (value === undefined) return { ca: false, pathLength: undefined };
  const [ca, pathLength] = sequenceOf(readDer(value));
  if (ca === undefined) return { ca: false, pathLength: undefined };
  return { ca: booleanOf(ca), pathLength: pathLength === undefined ? undefined : smallIntegerOf(pathLength) };
}

const usageBits = {
  digitalSignature: 0x80,
  keyEncipherment: 0x20,
  keyAgreement: 0x08,
  keyCertSign: 0x04,
  cRLSign: 0x02,
} as const;

function readKeyUsage(value: Buffer | undefined): Certificate["usage"] {
  if (value === undefined) return undefined;
  const octet = bitStringOf(readDer(value)).bits[0] ?? 0;
  const has = (name: keyof typeof usageBits): boolean => (octet & usageBits[name]) !== 0;
  return {
    digitalSignature: has("digitalSignature"),
    keyEncipherment: has("keyEncipherment"),
    keyAgreement: has("keyAgreement"),
    keyCertSign: has("keyCertSign"),
    cRLSign: has("cRLSign"),
  };
}

function readExtendedUsage(value: Buffer | undefined): Certificate["extendedUsage"] {
  return value === undefined ? undefined : sequenceOf(readDer(value)).map(oidOf);
}

function malformed(what: string): AttestationError {
  return new AttestationError("MALFORMED", `a certificate ${what}`);
}

function unsupported(what: string): AttestationError {
  return new AttestationError("UNSUPPORTED", `a certificate ${what}`);
}
