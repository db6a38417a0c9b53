import { issuerOfList, readRevocations } from "../crl.ts";
import { AttestationError, type NonEmpty } from "../evidence.ts";
import type { Certificate } from "../x509.ts";
import type { SnpReport } from "./report.ts";

/**
 * AMD's lists, one for VCEK and one for VLEK of each product, are signed by the root and name authorities (ASK, ASVK): a processor's
 * own certificate has the serial number 0, and ends with its firmware's versions. Which of its two lists one is the list does not say,
 * so that it is for whoever pins to say so, and none is taken from the evidence: there the harmless one would stand.
 */
export type SnpRevocation =
  /** The authorities that are accepted, by SHA-256 of their certificates: one that AMD revokes has to be taken out here. */
  | { by: "authorities"; authorities: NonEmpty<string> }
  /** AMD's lists in DER, which have to be current: the one for who signed, by the root that the certificates lead to. */
  | { by: "lists"; lists: NonEmpty<{ of: SnpReport["signedBy"]; list: Uint8Array }> };

/** Who signed a report, and who vouches for that, as it was verified for a time. */
export interface SnpVouchers {
  signedBy: SnpReport["signedBy"];
  /** The ASK, or ASVK for a VLEK. */
  authority: Certificate;
  /** The ARK. */
  root: Certificate;
  at: Date;
}

/** @throws AttestationError REVOKED, ROOT, and what a list is refused for */
export function checkRevocation({ signedBy, authority, root, at }: SnpVouchers, revocation: SnpRevocation): void {
  const { name, fingerprint, serial } = authority;
  if (revocation.by === "authorities") {
    if (revocation.authorities.includes(fingerprint)) return;
    const pinned = revocation.authorities.join(" or ");
    throw new AttestationError("ROOT", `SEV-SNP: the authority "${name}" is ${fingerprint}, expected ${pinned}`);
  }
  const lists = revocation.lists.filter(({ of, list }) => of === signedBy && issuerOfList(list).equals(root.subject));
  if (lists.length === 0) {
    throw new AttestationError("ROOT", `SEV-SNP: no revocation list for a ${signedBy} is one by "${root.name}"`);
  }
  for (const { list } of lists) {
    if (!readRevocations(list, root, at).has(serial)) continue;
    throw new AttestationError("REVOKED", `SEV-SNP: the certificate "${name}" was revoked`);
  }
}
