import { derTag } from "./der.ts";

/** One DER value: identifier, the shortest length, and the parts as its content (X.690 section 10.1). */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  const octets = Buffer.from(length.toString(16).padStart(length > 0xffff ? 6 : length > 0xff ? 4 : 2, "0"), "hex");
  return Buffer.concat([Buffer.of(tag, 0x80 | octets.length), octets, content]);
}

export const derSequence = (...parts: readonly Uint8Array[]): Buffer => der(derTag.sequence, ...parts);

export const derSet = (...parts: readonly Uint8Array[]): Buffer => der(derTag.set, ...parts);

export const derNull = (): Buffer => der(derTag.null);

/** An explicit context-specific tag around a value: `[number] EXPLICIT`. */
export const derExplicit = (number: number, ...parts: readonly Uint8Array[]): Buffer => der(0xa0 | number, ...parts);

export const derBoolean = (value: boolean): Buffer => der(derTag.boolean, Buffer.of(value ? 0xff : 0));

export const derUtf8 = (text: string): Buffer => der(derTag.utf8String, Buffer.from(text, "utf8"));

export const derOctets = (...parts: readonly Uint8Array[]): Buffer => der(derTag.octetString, ...parts);

/** An INTEGER that is not negative, from a number or big-endian octets. */
export function derUnsigned(value: number | Uint8Array): Buffer {
  const hex = typeof value === "number" ? value.toString(16) : Buffer.from(value).toString("hex");
  const octets = Buffer.from(hex.padStart(hex.length + (hex.length % 2), "0"), "hex");
  let start = 0;
  while (start < octets.length - 1 && octets[start] === 0) start++;
  const shortest = octets.subarray(start);
  return der(derTag.integer, ...((shortest[0] ?? 0x80) >= 0x80 ? [Buffer.of(0)] : []), shortest);
}

/** A BIT STRING; `unused` counts the bits of the last octet that do not belong to it. */
export const derBits = (bits: Uint8Array, unused = 0): Buffer => der(derTag.bitString, Buffer.of(unused), bits);

/** An OBJECT IDENTIFIER from its dotted form. */
export function derOid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const octets = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) groups.unshift((left % 128) | 0x80);
    return groups;
  });
  return der(derTag.oid, Buffer.from(octets));
}

/** A time as RFC 5280 section 4.1.2.5 wants it: UTCTime to the end of 2049, GeneralizedTime from then on. */
export function derTime(time: Date): Buffer {
  const digits = time.toISOString().replace(/[-:T]/g, "").slice(0, 14) + "Z";
  const utc = time.getUTCFullYear() >= 1950 && time.getUTCFullYear() < 2050;
  return utc
    ? der(derTag.utcTime, Buffer.from(digits.slice(2), "latin1"))
    : der(derTag.generalizedTime, Buffer.from(digits, "latin1"));
}
