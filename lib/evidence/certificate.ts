import { constants, createPublicKey, type KeyObject, sign } from "node:crypto";
import { isIP } from "node:net";

import type { RandomBytes } from "../random.ts";
import {
  der,
  derBits,
  derBoolean,
  derExplicit,
  derNull,
  derOctets,
  derOid,
  derSequence,
  derSet,
  derTime,
  derUnsigned,
  derUtf8,
} from "./der-writer.ts";

/** A certificate that was made here, in the forms that its readers want. */
export interface MadeCertificate {
  der: Buffer;
  pem: string;
}

/** An extension of RFC 5280 section 4.2: `value` is DER. */
export interface Extension {
  oid: string;
  critical: boolean;
  value: Buffer;
}

interface CertificateParts {
  /** The common name: the only part of the name that we write. */
  subject: string;
  notBefore: Date;
  notAfter: Date;
  random: RandomBytes;
}

/**
 * A certificate of an end entity for its own key, for a TLS server whose peers pin it (RFC 5280).
 * `key` is a private key, P-256 as a rule; `names` are DNS names and IP addresses.
 */
export function selfSigned({
  key,
  names,
  ...parts
}: CertificateParts & { key: KeyObject; names: readonly string[] }): MadeCertificate {
  return issue({
    ...parts,
    publicKey: createPublicKey(key),
    issuer: { subject: parts.subject, key },
    extensions: [
      basicConstraints("end-entity"),
      keyUsage("digitalSignature"),
      { oid: "2.5.29.37", critical: false, value: derSequence(derOid("1.3.6.1.5.5.7.3.1")) }, // serverAuth
      subjectAltName(names),
    ],
  });
}

/** Signs a certificate for `publicKey`: with ECDSA, or RSA-PSS, and the hash that fits the issuer's key. */
export function issue({
  subject,
  publicKey,
  issuer,
  notBefore,
  notAfter,
  extensions,
  random,
}: CertificateParts & {
  publicKey: KeyObject;
  issuer: { subject: string; key: KeyObject };
  extensions: readonly Extension[];
}): MadeCertificate {
  const serial = Buffer.from(random(16));
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive, and never shortened
  const tbs = derSequence(
    derExplicit(0, derUnsigned(2)), // v3
    derUnsigned(serial),
    signatureAlgorithm(issuer.key),
    distinguishedName(issuer.subject),
    derSequence(derTime(notBefore), derTime(notAfter)),
    distinguishedName(subject),
    publicKey.export({ format: "der", type: "spki" }),
    derExplicit(3, derSequence(...extensions.map(writeExtension))),
  );
  const bytes = signed(tbs, issuer.key);
  return { der: bytes, pem: toPem(bytes) };
}

/** The outer SEQUENCE of a certificate or revocation list: what is signed, by which algorithm, and the signature. */
export function signed(tbs: Buffer, key: KeyObject): Buffer {
  const signature = isRsa(key)
    ? sign(hashFor(key), tbs, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 })
    : sign(hashFor(key), tbs, key);
  return derSequence(tbs, signatureAlgorithm(key), derBits(signature));
}

/** The AlgorithmIdentifier by which `signed` signs: RFC 5758 section 3.2, RFC 4055 section 3.1. */
export function signatureAlgorithm(key: KeyObject): Buffer {
  if (!isRsa(key))
    return derSequence(derOid(hashFor(key) === "sha256" ? "1.2.840.10045.4.3.2" : "1.2.840.10045.4.3.3"));
  const sha384 = derSequence(derOid("2.16.840.1.101.3.4.2.2"), derNull());
  return derSequence(
    derOid("1.2.840.113549.1.1.10"),
    derSequence(
      derExplicit(0, sha384),
      derExplicit(1, derSequence(derOid("1.2.840.113549.1.1.8"), sha384)),
      derExplicit(2, derUnsigned(48)),
    ),
  );
}

/** A name of one common name. */
export function distinguishedName(commonName: string): Buffer {
  return derSequence(derSet(derSequence(derOid("2.5.4.3"), derUtf8(commonName))));
}

/** Whether the subject may issue certificates, and how many authorities may stand below it. */
export function basicConstraints(subject: "end-entity" | { pathLength?: number }): Extension {
  const value =
    subject === "end-entity"
      ? derSequence()
      : derSequence(derBoolean(true), ...(subject.pathLength === undefined ? [] : [derUnsigned(subject.pathLength)]));
  return { oid: "2.5.29.19", critical: true, value };
}

const usageBits = { digitalSignature: 0x80, keyCertSign: 0x04, cRLSign: 0x02 } as const;

export function keyUsage(...usages: readonly (keyof typeof usageBits)[]): Extension {
  const octet = usages.reduce((sum, usage) => sum | usageBits[usage], 0);
  let unused = 0;
  while (unused < 7 && ((octet >> unused) & 1) === 0) unused++;
  return { oid: "2.5.29.15", critical: true, value: derBits(Buffer.of(octet), unused) };
}

function subjectAltName(names: readonly string[]): Extension {
  const general = names.map((name) => {
    const family = isIP(name);
    if (family === 4) return der(0x87, Buffer.from(name.split(".").map(Number)));
    if (family === 6) return der(0x87, ipv6Octets(name));
    return der(0x82, Buffer.from(name, "latin1"));
  });
  return { oid: "2.5.29.17", critical: false, value: derSequence(...general) };
}

function ipv6Octets(address: string): Buffer {
  const groups = (text: string | undefined): string[] => (text === undefined || text === "" ? [] : text.split(":"));
  const [head, tail] = address.split("::");
  const [before, after] = [groups(head), groups(tail)];
  const between = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return Buffer.from([...before, ...between, ...after].map((group) => group.padStart(4, "0")).join(""), "hex");
}

function writeExtension({ oid, critical, value }: Extension): Buffer {
  return derSequence(derOid(oid), ...(critical ? [derBoolean(true)] : []), derOctets(value));
}

function isRsa(key: KeyObject): boolean {
  return key.asymmetricKeyType === "rsa";
}

function hashFor(key: KeyObject): "sha256" | "sha384" {
  return isRsa(key) || key.asymmetricKeyDetails?.namedCurve === "secp384r1" ? "sha384" : "sha256";
}

/** A certificate as PEM (RFC 7468). */
export function toPem(bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
