import { bitStringOf, type Der, derTag, readDer, sequenceOf, smallIntegerOf, timeOf, unsignedOf } from "./der.ts";
import { AttestationError } from "./evidence.ts";
import { isSignedAs, readSignatureAlgorithm } from "./signature-algorithm.ts";
import { type Certificate, readExtensions } from "./x509.ts";

/** Serial numbers of certificates that their issuer revoked, as `Certificate.serial` has them. */
export type RevokedSerials = ReadonlySet<string>;

/** CRL number and authority key identifier; neither changes what the list means. */
const understood = new Set(["2.5.29.20", "2.5.29.35"]);
const REASON_CODE = "2.5.29.21";

/**
 * Reads a complete revocation list of `issuer` (RFC 5280 section 5), verifies its signature and that it is current. The
 * issuer's own certificate has to be verified by the caller.
 * @throws AttestationError MALFORMED, UNSUPPORTED, ROOT, SIGNATURE, STALE
 */
export function readRevocations(bytes: Uint8Array, issuer: Certificate, at: Date): RevokedSerials {
  const what = `the revocation list of "${issuer.name}"`;
  const [tbs, algorithm, signature, ...more] = sequenceOf(readDer(bytes));
  if (tbs === undefined || more.length > 0) throw new AttestationError("MALFORMED", `${what} is not three values`);
  const { bits, unused } = bitStringOf(signature);
  if (unused !== 0) throw new AttestationError("MALFORMED", `${what} has a signature that is not whole octets`);

  const [version, innerAlgorithm, name, thisUpdate, nextUpdate, ...rest] = sequenceOf(tbs);
  if (smallIntegerOf(version) !== 1) throw new AttestationError("UNSUPPORTED", `${what} is not of version 2`);
  if (!algorithm?.encoded.equals(encodedOf(innerAlgorithm))) {
    throw new AttestationError("MALFORMED", `${what} names two signature algorithms`);
  }
  if (!encodedOf(name).equals(issuer.subject) || issuer.usage?.cRLSign !== true) {
    throw new AttestationError("ROOT", `${what} was issued by somebody else, or by one who may not`);
  }
  const signed = { signed: tbs.encoded, key: issuer.publicKey, signature: bits };
  if (!isSignedAs(readSignatureAlgorithm(algorithm, what), signed)) {
    throw new AttestationError("SIGNATURE", `${what} has a wrong signature`);
  }
  const [from, to] = [timeOf(thisUpdate), timeOf(nextUpdate)];
  if (!(at >= from && at <= to)) {
    throw new AttestationError("STALE", `${what} is valid from ${from.toISOString()} to ${to.toISOString()} only`);
  }
  return readEntries(rest, what);
}

/** The DER of the name that a revocation list says it was issued by; nothing of it is verified. @throws AttestationError MALFORMED */
export function issuerOfList(bytes: Uint8Array): Buffer {
  return encodedOf(sequenceOf(sequenceOf(readDer(bytes))[0])[2]);
}

function readEntries(rest: readonly Der[], what: string): RevokedSerials {
  const [list, extensions, ...more] = rest[0]?.tag === derTag.sequence ? rest : [undefined, ...rest];
  if (more.length > 0 || (extensions !== undefined && extensions.tag !== 0xa0))
    throw new AttestationError("MALFORMED", `${what} has more than entries and extensions`);
  refuseUnknown(readExtensions(extensions), (oid) => understood.has(oid), what);
  const serials = (list === undefined ? [] : sequenceOf(list)).map((entry) => {
    const [serial, date, extensions] = sequenceOf(entry);
    timeOf(date);
    if (extensions !== undefined) refuseUnknown(entryExtensions(extensions), (oid) => oid === REASON_CODE, what);
    return unsignedOf(serial).toString("hex");
  });
  return new Set(serials);
}

/** An entry's extensions stand without the explicit tag that a list's have. */
function entryExtensions(list: Der): ReturnType<typeof readExtensions> {
  return readExtensions({ tag: 0xa0, content: list.encoded, encoded: list.encoded });
}

/** A critical extension could make the list partial or indirect (RFC 5280 section 5.2.5): then it is not what it seems. */
function refuseUnknown(
  extensions: ReadonlyMap<string, { critical: boolean }>,
  known: (oid: string) => boolean,
  what: string,
): void {
  for (const [oid, { critical }] of extensions) {
    if (critical && !known(oid)) {
      throw new AttestationError("UNSUPPORTED", `${what} has the critical extension ${oid}, which is unknown`);
    }
  }
}

function encodedOf(value: Der | undefined): Buffer {
  return value?.encoded ?? Buffer.alloc(0);
}
