/** Bytes that are not the TPM structure that they should be. The message names the structure and what is wrong with it. */
export class TpmFormatError extends Error {
  override readonly name = "TpmFormatError";
}

/** No structure that is read here is longer; a length that says otherwise is not believed. */
export const MAX_STRUCTURE = 4096;

/** Puts a structure together: integers big-endian, `sized` as a TPM2B (16-bit length first). TPM 2.0 Part 1, section 5. */
export class TpmWriter {
  readonly #parts: Uint8Array[] = [];

  u8(value: number): this {
    return this.bytes(Uint8Array.of(value));
  }

  u16(value: number): this {
    const part = Buffer.alloc(2);
    part.writeUInt16BE(value);
    return this.bytes(part);
  }

  u32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32BE(value >>> 0);
    return this.bytes(part);
  }

  u64(value: bigint): this {
    const part = Buffer.alloc(8);
    part.writeBigUInt64BE(value);
    return this.bytes(part);
  }

  bytes(value: Uint8Array): this {
    this.#parts.push(value);
    return this;
  }

  sized(value: Uint8Array): this {
    return this.u16(value.length).bytes(value);
  }

  /** With a 32-bit length first: only the authorization area of a command is so. */
  sized32(value: Uint8Array): this {
    return this.u32(value.length).bytes(value);
  }

  /** A buffer of its own, from no shared pool: a caller that wrote a secret can zero it. */
  done(): Buffer {
    const whole = Buffer.alloc(this.#parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }
}

/** Takes a structure apart, and believes nothing that it says about its own length. Every method: @throws TpmFormatError */
export class TpmReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(
    bytes: Uint8Array,
    readonly what: string,
  ) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length > MAX_STRUCTURE) throw this.wrong(`is longer than ${MAX_STRUCTURE} bytes`);
  }

  /** Reads one structure to its end. */
  static whole<T>(bytes: Uint8Array, what: string, read: (reader: TpmReader) => T): T {
    const reader = new TpmReader(bytes, what);
    const value = read(reader);
    reader.end();
    return value;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#take(1).readUInt8();
  }

  u16(): number {
    return this.#take(2).readUInt16BE();
  }

  u32(): number {
    return this.#take(4).readUInt32BE();
  }

  u64(): bigint {
    return this.#take(8).readBigUInt64BE();
  }

  /** TPMI_YES_NO: 0 or 1, and nothing that merely counts as true. */
  yesNo(): boolean {
    const value = this.u8();
    if (value > 1) throw this.wrong(`has ${value} where 0 or 1 must stand`);
    return value === 1;
  }

  /** A copy, so that what was read outlives the buffer that it came in. */
  bytes(length: number): Buffer {
    const copy = Buffer.alloc(length);
    copy.set(this.#take(length));
    return copy;
  }

  /** A TPM2B of at most `max` bytes. */
  sized(max: number): Buffer {
    const length = this.u16();
    if (length > max) throw this.wrong(`has a field of ${length} bytes where at most ${max} may stand`);
    return this.bytes(length);
  }

  rest(): Buffer {
    return this.bytes(this.left);
  }

  end(): void {
    if (this.left > 0) throw this.wrong(`has ${this.left} bytes after its end`);
  }

  /** Zeroes the bytes that it reads from, once a secret was read out of them. */
  wipe(): void {
    this.#bytes.fill(0);
  }

  wrong(how: string): TpmFormatError {
    return new TpmFormatError(`${this.what} ${how}`);
  }

  #take(length: number): Buffer {
    if (length > this.left) throw this.wrong("ends too early");
    const part = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return part;
  }
}
