import type { KeyObject } from "node:crypto";

import { distinguishedName, type Extension, signatureAlgorithm, signed } from "../certificate.ts";
import { derBoolean, derExplicit, derOctets, derOid, derSequence, derTime, derUnsigned } from "../der-writer.ts";

/** What a revocation list says; serial numbers in hex. */
export interface CrlClaims {
  issuer: { subject: string; key: KeyObject };
  thisUpdate: Date;
  nextUpdate: Date;
  revoked: readonly string[];
  extensions?: readonly Extension[];
}

/** Issues a revocation list, version 2 (RFC 5280 section 5). */
export function issueCrl({ issuer, thisUpdate, nextUpdate, revoked, extensions = [] }: CrlClaims): Buffer {
  const entries = revoked.map((serial) => derSequence(derUnsigned(Buffer.from(serial, "hex")), derTime(thisUpdate)));
  const written = extensions.map(({ oid, critical, value }) =>
    derSequence(derOid(oid), ...(critical ? [derBoolean(true)] : []), derOctets(value)),
  );
  const tbs = derSequence(
    derUnsigned(1),
    signatureAlgorithm(issuer.key),
    distinguishedName(issuer.subject),
    derTime(thisUpdate),
    derTime(nextUpdate),
    ...(entries.length > 0 ? [derSequence(...entries)] : []),
    ...(written.length > 0 ? [derExplicit(0, derSequence(...written))] : []),
  );
  return signed(tbs, issuer.key);
}
