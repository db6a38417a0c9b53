import { AttestationError } from "./evidence.ts";

/** What documents are made of. Floats, negative zero and other curiosities of CBOR do not occur in them. */
export type Cbor =
  number | string | boolean | null | Buffer | CborTag | readonly Cbor[] | ReadonlyMap<string | number, Cbor>;

export class CborTag {
  constructor(
    readonly tag: number,
    readonly value: Cbor,
  ) {}
}

const MAX_DEPTH = 8;
const INDEFINITE = 31;
const BREAK = 0xff;

/**
 * Decodes one CBOR item (RFC 8949): lengths and numbers in their shortest form, no key twice, nothing after it. Arrays and
 * maps may be of indefinite length (the documents of Nitro are, since 2025), strings may not.
 * @throws AttestationError MALFORMED
 */
export function decodeCbor(bytes: Uint8Array): Cbor {
  const reader = new Reader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  const item = reader.item(0);
  reader.end();
  return item;
}

/** The same for an item with filling behind it, as in a buffer that is larger. @throws AttestationError MALFORMED */
export function decodeLeadingCbor(bytes: Uint8Array): Cbor {
  return new Reader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).item(0);
}

/** Encodes with definite, shortest lengths (RFC 8949 section 4.2.1), maps in the order given. */
export function encodeCbor(item: Cbor): Buffer {
  if (item === null) return Buffer.of(0xf6);
  if (typeof item === "boolean") return Buffer.of(item ? 0xf5 : 0xf4);
  if (typeof item === "number") return item < 0 ? head(1, -1 - item) : head(0, item);
  if (typeof item === "string") return Buffer.concat([head(3, Buffer.byteLength(item)), Buffer.from(item)]);
  if (Buffer.isBuffer(item)) return Buffer.concat([head(2, item.length), item]);
  if (item instanceof CborTag) return Buffer.concat([head(6, item.tag), encodeCbor(item.value)]);
  if (item instanceof Map) {
    const entries = [...(item as ReadonlyMap<string | number, Cbor>)];
    return Buffer.concat([
      head(5, item.size),
      ...entries.flatMap(([key, value]) => [encodeCbor(key), encodeCbor(value)]),
    ]);
  }
  const list = item as readonly Cbor[];
  return Buffer.concat([head(4, list.length), ...list.map(encodeCbor)]);
}

function head(major: number, value: number): Buffer {
  if (value < 24) return Buffer.of((major << 5) | value);
  const [argument, octets] = value < 0x100 ? [24, 1] : value < 0x1_0000 ? [25, 2] : value < 2 ** 32 ? [26, 4] : [27, 8];
  const bytes = Buffer.alloc(1 + octets);
  bytes[0] = (major << 5) | argument;
  if (octets === 8) bytes.writeBigUInt64BE(BigInt(value), 1);
  else bytes.writeUIntBE(value, 1, octets);
  return bytes;
}

class Reader {
  #offset = 0;

  constructor(private readonly bytes: Buffer) {}

  item(depth: number): Cbor {
    if (depth > MAX_DEPTH) throw malformed(`nested deeper than ${MAX_DEPTH}`);
    const initial = this.#take(1).readUInt8(0);
    const [major, info] = [initial >> 5, initial & 31];
    if (major === 7) return simpleValue(info);
    if (info === INDEFINITE && major === 4) return this.#list(depth, undefined);
    if (info === INDEFINITE && major === 5) return this.#map(depth, undefined);
    const argument = this.#argument(info);
    switch (major) {
      case 0:
        return argument;
      case 1:
        return -1 - argument;
      case 2:
        return this.#take(argument);
      case 3:
        return utf8(this.#take(argument));
      case 4:
        return this.#list(depth, argument);
      case 5:
        return this.#map(depth, argument);
      default:
        return new CborTag(argument, this.item(depth + 1));
    }
  }

  end(): void {
    if (this.#offset !== this.bytes.length) throw malformed("bytes follow the item");
  }

  #list(depth: number, length: number | undefined): Cbor[] {
    const list: Cbor[] = [];
    while (this.#goesOn(list.length, length)) list.push(this.item(depth + 1));
    return list;
  }

  #map(depth: number, length: number | undefined): Map<string | number, Cbor> {
    const map = new Map<string | number, Cbor>();
    while (this.#goesOn(map.size, length)) {
      const key = this.item(depth + 1);
      if (typeof key !== "string" && typeof key !== "number") throw malformed("a key is neither text nor a number");
      if (map.has(key)) throw malformed("a key occurs twice");
      map.set(key, this.item(depth + 1));
    }
    return map;
  }

  /** Every item takes a byte at least: a length that lies ends at the end of the bytes. */
  #goesOn(count: number, length: number | undefined): boolean {
    if (length !== undefined) return count < length;
    if (this.bytes[this.#offset] !== BREAK) return true;
    this.#offset++;
    return false;
  }

  #argument(info: number): number {
    if (info < 24) return info;
    const octets = info === 24 ? 1 : info === 25 ? 2 : info === 26 ? 4 : info === 27 ? 8 : 0;
    if (octets === 0) throw malformed("a reserved or indefinite length");
    const raw = this.#take(octets);
    const value = octets === 8 ? Number(raw.readBigUInt64BE(0)) : raw.readUIntBE(0, octets);
    if (!Number.isSafeInteger(value)) throw malformed("a number is beyond 2^53");
    const least = octets === 1 ? 24 : 2 ** (4 * octets);
    if (value < least) throw malformed("a number or length is not in its shortest form");
    return value;
  }

  #take(length: number): Buffer {
    if (length > this.bytes.length - this.#offset) throw malformed("cut off");
    const taken = this.bytes.subarray(this.#offset, this.#offset + length);
    this.#offset += length;
    return taken;
  }
}

function simpleValue(info: number): boolean | null {
  if (info === 20 || info === 21) return info === 21;
  if (info === 22) return null;
  throw malformed("a float or simple value");
}

function utf8(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed("text is not UTF-8");
  }
}

function malformed(what: string): AttestationError {
  return new AttestationError("MALFORMED", `the document is not CBOR as it should be: ${what}`);
}
