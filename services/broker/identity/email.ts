import { domainToASCII } from "node:url";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

/** An e-mail address in its canonical form: trimmed, NFC, lower case, the domain as A-labels. */
export type Email = string & { readonly __brand: "Email" };

/** RFC 5321 section 4.5.3.1: 64 octets before the @, and 254 in all (erratum 1690 to RFC 3696). */
const MAX_LOCAL = 64;
const MAX_TOTAL = 254;

/** Reads an address as a person types it. @throws Failure INVALID_EMAIL */
export function parseEmail(text: string): Email {
  const typed = text.trim().normalize("NFC").toLowerCase();
  const at = typed.lastIndexOf("@");
  const local = typed.slice(0, at);
  // Quoted local parts and comments are legal and used by nobody but attackers of parsers.
  if (at < 1 || !/^[\p{L}\p{N}\p{M}!#$%&'*+/=?^_`{|}~-]+(\.[\p{L}\p{N}\p{M}!#$%&'*+/=?^_`{|}~-]+)*$/u.test(local)) {
    throw invalid("the part before the @ is not one that mail can be sent to");
  }
  const domain = domainToASCII(typed.slice(at + 1));
  if (!/^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/.test(domain)) {
    throw invalid("the part after the @ is not a domain name");
  }
  if (/^[\d.]+$/.test(domain)) throw invalid("the part after the @ is a number, not a domain name");
  const email = `${local}@${domain}`;
  if (Buffer.byteLength(local) > MAX_LOCAL || Buffer.byteLength(email) > MAX_TOTAL) throw invalid("it is too long");
  return email as Email;
}

function invalid(why: string): Failure {
  return new Failure(ErrorReason.INVALID_EMAIL, `email is not an address: ${why}`);
}
