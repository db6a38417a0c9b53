import { AttestationError } from "./evidence.ts";

/** One value in DER (X.690 section 10). Views into the bytes that were read, not copies. */
export interface Der {
  readonly tag: number;
  readonly content: Buffer;
  /** Identifier, length and content: what signatures cover. */
  readonly encoded: Buffer;
}

/** The identifier octets that certificates and revocation lists are made of. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  ia5String: 0x16,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Reads the one value that `bytes` consist of: nothing may follow it. @throws AttestationError MALFORMED */
export function readDer(bytes: Uint8Array): Der {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const value = readAt(buffer, 0);
  if (value.encoded.length !== buffer.length) throw malformed("bytes follow the value");
  return value;
}

/**
 * The values inside a constructed value (SEQUENCE, SET, an explicit tag). Only one level is read at a time: how deep a
 * hostile encoding nests costs nothing. @throws AttestationError MALFORMED
 */
export function childrenOf(value: Der): Der[] {
  if ((value.tag & 0x20) === 0) throw malformed("a constructed value was expected");
  const children: Der[] = [];
  for (let offset = 0; offset < value.content.length;) {
    const child = readAt(value.content, offset);
    children.push(child);
    offset += child.encoded.length;
  }
  return children;
}

/** The content of a value that has to have this tag. @throws AttestationError MALFORMED */
export function contentOf(value: Der | undefined, tag: number): Buffer {
  if (value?.tag !== tag) {
    const found = value === undefined ? "nothing" : `tag ${value.tag}`;
    throw malformed(`tag ${tag} was expected, ${found} was found`);
  }
  return value.content;
}

/** The values inside a SEQUENCE. */
export function sequenceOf(value: Der | undefined): Der[] {
  contentOf(value, derTag.sequence);
  return childrenOf(value as Der);
}

/** An OBJECT IDENTIFIER in dotted form. */
export function oidOf(value: Der | undefined): string {
  const content = contentOf(value, derTag.oid);
  if (content.length === 0 || content.length > 64 || ((content.at(-1) ?? 0x80) & 0x80) !== 0) {
    throw malformed("an object identifier is cut off");
  }
  const arcs: number[] = [];
  let arc = 0;
  let begins = true;
  for (const byte of content) {
    if (begins && byte === 0x80) throw malformed("an object identifier is not in its shortest form");
    arc = arc * 128 + (byte & 0x7f);
    if (arc > 0xffff_ffff) throw malformed("an object identifier has an arc beyond 32 bits");
    begins = (byte & 0x80) === 0;
    if (begins) {
      if (arcs.length === 0) arcs.push(Math.min(2, Math.floor(arc / 40)), arc - 40 * Math.min(2, Math.floor(arc / 40)));
      else arcs.push(arc);
      arc = 0;
    }
  }
  return arcs.join(".");
}

/** The octets of an INTEGER that is not negative, without a leading zero octet (`00` for zero). */
export function unsignedOf(value: Der | undefined): Buffer {
  const content = contentOf(value, derTag.integer);
  const [first, second] = content;
  if (first === undefined) throw malformed("an integer has no octets");
  if (first >= 0x80) throw malformed("a negative integer where none may be");
  if (first === 0 && second !== undefined && second < 0x80) throw malformed("an integer is not in its shortest form");
  return first === 0 && second !== undefined ? content.subarray(1) : content;
}

/** An INTEGER from 0 to 2³²-1. */
export function smallIntegerOf(value: Der | undefined): number {
  const octets = unsignedOf(value);
  if (octets.length > 4) throw malformed("an integer is larger than 32 bits");
  return octets.readUIntBE(0, octets.length);
}

/** A BOOLEAN: DER knows only 00 and ff. */
export function booleanOf(value: Der | undefined): boolean {
  const content = contentOf(value, derTag.boolean);
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff))
    throw malformed("a boolean is neither 00 nor ff");
  return content[0] === 0xff;
}

/** The octets of a BIT STRING and how many bits of the last one are unused; these have to be zero. */
export function bitStringOf(value: Der | undefined): { bits: Buffer; unused: number } {
  const content = contentOf(value, derTag.bitString);
  const unused = content[0];
  const bits = content.subarray(1);
  if (unused === undefined || unused > 7 || (bits.length === 0 && unused !== 0))
    throw malformed("a bit string is cut off");
  if (((bits.at(-1) ?? 0) & ((1 << unused) - 1)) !== 0) throw malformed("unused bits of a bit string are set");
  return { bits, unused };
}

/** A UTCTime or GeneralizedTime in the forms of RFC 5280 section 4.1.2.5: whole seconds, in UTC. */
export function timeOf(value: Der | undefined): Date {
  const utc = value?.tag === derTag.utcTime;
  const text = contentOf(value, utc ? derTag.utcTime : derTag.generalizedTime).toString("latin1");
  const digits = /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text);
  if (digits?.[1]?.length !== (utc ? 2 : 4)) throw malformed("a time is not whole seconds in UTC");
  const [year = 0, month = 0, ...rest] = digits.slice(1).map(Number);
  const century = !utc ? 0 : year < 50 ? 2000 : 1900;
  const [day = 0, hour = 0, minute = 0, second = 0] = rest;
  const time = new Date(0);
  time.setUTCFullYear(century + year, month - 1, day);
  time.setUTCHours(hour, minute, second);
  if (time.getUTCMonth() !== month - 1 || time.getUTCDate() !== day || time.getUTCSeconds() !== second || hour > 23) {
    throw malformed("a time does not exist");
  }
  return time;
}

function readAt(bytes: Buffer, start: number): Der {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw malformed("cut off");
  if ((tag & 0x1f) === 0x1f) throw malformed("a tag of several octets");
  let offset = start + 2;
  let length = first;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    // 0x80 is the indefinite form, which only BER knows. Three octets are 16 MiB: nothing here is as large.
    if (octets < 1 || octets > 3) throw malformed("a length that is indefinite or too large");
    if (offset + octets > bytes.length) throw malformed("cut off");
    length = bytes.readUIntBE(offset, octets);
    offset += octets;
    if (length < 0x80 || length < 2 ** (8 * (octets - 1))) throw malformed("a length is not in its shortest form");
  }
  if (length > bytes.length - offset) throw malformed("cut off");
  return { tag, content: bytes.subarray(offset, offset + length), encoded: bytes.subarray(start, offset + length) };
}

function malformed(what: string): AttestationError {
  return new AttestationError("MALFORMED", `a certificate or revocation list is not DER: ${what}`);
}
