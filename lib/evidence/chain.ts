import { AttestationError, type NonEmpty } from "./evidence.ts";
import { type Certificate, readCertificate } from "./x509.ts";

export interface ChainRules {
  /** SHA-256 of the DER of each root that is trusted, lower-case hex. */
  roots: NonEmpty<string>;
  /** When every certificate has to be valid. */
  at: Date;
  /** For messages: whose certificates these are. */
  what: string;
  /** What the end entity's key is for: to sign evidence, unless told otherwise; or to be a TPM's endorsement key, which secrets are sent to. */
  purpose?: Purpose;
}

type Purpose = "signature" | "endorsement";

/** tcg-kp-EKCertificate ("TCG EK Credential Profile", section 3.5). */
const ENDORSEMENT_KEY = "2.23.133.8.1";

/** What these certificates may say with the critical bit; an extension that is not understood must not be passed over. */
const understood = new Set([
  "2.5.29.14", // subject key identifier
  "2.5.29.15", // key usage
  "2.5.29.17", // subject alternative name
  "2.5.29.19", // basic constraints
  "2.5.29.31", // CRL distribution points
  "2.5.29.35", // authority key identifier
  "2.5.29.37", // extended key usage
]);

const MAX_CERTIFICATES = 10;

/**
 * Verifies certificates, the end entity's first and the pinned root last (RFC 5280 section 6): every signature, name,
 * validity, the CA flag, path lengths, key usage, extended key usage and critical extensions. Returns the end entity's certificate.
 * @throws AttestationError MALFORMED, UNSUPPORTED, ROOT, STALE, SIGNATURE
 */
export function verifyChain(
  chain: readonly Certificate[],
  { roots, at, what, purpose = "signature" }: ChainRules,
): Certificate {
  const [leaf] = chain;
  const root = chain.at(-1);
  if (leaf === undefined || root === undefined || chain.length < 2 || chain.length > MAX_CERTIFICATES) {
    throw new AttestationError("MALFORMED", `${what}: ${chain.length} certificates, expected 2 to ${MAX_CERTIFICATES}`);
  }
  if (!roots.includes(root.fingerprint)) {
    throw new AttestationError("ROOT", `${what}: the root "${root.name}" (SHA-256 ${root.fingerprint}) is not pinned`);
  }
  checkPurpose(chain, purpose, what);
  chain.forEach((certificate, index) => {
    checkCriticalExtensions(certificate, what);
    checkValidity(certificate, at, what);
    if (index === 0) checkEndEntity(certificate, purpose, what);
    else checkAuthority(certificate, index - 1, what);
    checkIssuedBy(certificate, chain[index + 1] ?? certificate, what);
  });
  return leaf;
}

/** Reads certificates in DER, in order. */
export function readCertificates(list: readonly Uint8Array[], what: string): Certificate[] {
  if (list.length > MAX_CERTIFICATES) {
    throw new AttestationError("MALFORMED", `${what}: more than ${MAX_CERTIFICATES} certificates`);
  }
  return list.map(readCertificate);
}

/**
 * Reads certificates as PEM (RFC 7468), in its one strict form: lines of 64 characters that end in a line feed, nothing
 * before, between or after. So no byte of it can differ without a certificate differing.
 */
export function readPem(text: string, what: string): Certificate[] {
  const blocks = text.split(/(?<=-----END CERTIFICATE-----\n)(?=-----BEGIN)/);
  const list = blocks.map((block) => {
    const base64 =
      /^-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)\n-----END CERTIFICATE-----\n$/.exec(block)?.[1] ?? "";
    const bytes = Buffer.from(base64, "base64");
    if (base64 === "" || (bytes.toString("base64").match(/.{1,64}/g) ?? []).join("\n") !== base64) {
      throw new AttestationError("MALFORMED", `${what}: the certificates are not PEM in its strict form`);
    }
    return bytes;
  });
  return readCertificates(list, what);
}

function checkCriticalExtensions({ extensions, name }: Certificate, what: string): void {
  for (const [oid, { critical }] of extensions) {
    if (critical && !understood.has(oid)) {
      throw new AttestationError(
        "UNSUPPORTED",
        `${what}: "${name}" has the critical extension ${oid}, which is unknown`,
      );
    }
  }
}

function checkValidity({ notBefore, notAfter, name }: Certificate, at: Date, what: string): void {
  // Written so that an invalid date fails too.
  if (at >= notBefore && at <= notAfter) return;
  const period = `${notBefore.toISOString()} to ${notAfter.toISOString()}`;
  throw new AttestationError("STALE", `${what}: the certificate "${name}" is valid from ${period} only`);
}

function checkEndEntity({ ca, usage, publicKey, name }: Certificate, purpose: Purpose, what: string): void {
  if (ca) throw new AttestationError("ROOT", `${what}: "${name}" is an authority and may not sign evidence itself`);
  if (purpose === "signature") {
    if (usage?.digitalSignature ?? true) return;
    throw new AttestationError("ROOT", `${what}: the key of "${name}" is not for signatures`);
  }
  const encrypts = publicKey.asymmetricKeyType === "ec" ? usage?.keyAgreement : usage?.keyEncipherment;
  if (encrypts !== true) throw new AttestationError("ROOT", `${what}: the key of "${name}" is not for encryption`);
}

/**
 * An authority of a maker of hardware may certify other things as well, whose keys are in nobody's hardware. What a certificate says
 * that it is for narrows it and those below it. Makers of TPMs say that one is for endorsement keys, there or above; makers
 * of processors say nothing.
 */
function checkPurpose(chain: readonly Certificate[], purpose: Purpose, what: string): void {
  const said = chain.filter(({ extendedUsage }) => extendedUsage !== undefined);
  const accepted = purpose === "endorsement" ? ENDORSEMENT_KEY : undefined;
  const other = said.find(({ extendedUsage }) => accepted === undefined || extendedUsage?.includes(accepted) !== true);
  if (other !== undefined) {
    throw new AttestationError("ROOT", `${what}: "${other.name}" is for ${other.extendedUsage?.join(", ") ?? ""} only`);
  }
  if (accepted !== undefined && said.length === 0) {
    throw new AttestationError("ROOT", `${what}: nothing says that it is for endorsement keys (${accepted})`);
  }
}

function checkAuthority({ ca, usage, pathLength, name }: Certificate, below: number, what: string): void {
  if (!ca || usage?.keyCertSign !== true) {
    throw new AttestationError("ROOT", `${what}: "${name}" may not issue certificates`);
  }
  if (pathLength !== undefined && below > pathLength) {
    throw new AttestationError("ROOT", `${what}: more authorities stand below "${name}" than it allows`);
  }
}

function checkIssuedBy(certificate: Certificate, issuer: Certificate, what: string): void {
  const { name } = certificate;
  if (!certificate.issuer.equals(issuer.subject) || !certificate.x509.checkIssued(issuer.x509)) {
    throw new AttestationError("ROOT", `${what}: "${name}" was not issued by "${issuer.name}"`);
  }
  if (!verifiedBy(certificate, issuer)) {
    throw new AttestationError("SIGNATURE", `${what}: the signature of "${issuer.name}" on "${name}" is wrong`);
  }
}

function verifiedBy(certificate: Certificate, issuer: Certificate): boolean {
  try {
    return certificate.x509.verify(issuer.publicKey);
  } catch {
    return false; // OpenSSL throws for a signature that it cannot even decode
  }
}
