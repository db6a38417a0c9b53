import { AttestationError } from "./evidence.ts";

/**
 * A value of JSON that came with evidence, and where it stood. Everything read from it has to be there and of the right
 * type, or an AttestationError MALFORMED names the place.
 */
export class Json {
  private constructor(
    private readonly value: unknown,
    private readonly place: string,
  ) {}

  /** Parses UTF-8 text. `place` names it in messages. */
  static parse(bytes: Uint8Array, place: string): Json {
    try {
      return new Json(JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)), place);
    } catch {
      throw new AttestationError("MALFORMED", `${place} is not JSON`); // the parser's message would quote what it read
    }
  }

  /**
   * Parses what `JSON.stringify` wrote, and nothing that only means the same: where no signature covers the text itself,
   * white space, escapes and names given twice would be room for changes that nobody sees.
   */
  static parseCompact(bytes: Uint8Array, place: string): Json {
    const json = Json.parse(bytes, place);
    return Buffer.from(json.#stringified()).equals(bytes) ? json : json.#fail("is not compact JSON");
  }

  field(name: string): Json {
    return this.optional(name) ?? this.#fail(`has no "${name}"`);
  }

  optional(name: string): Json | undefined {
    const fields = this.#fields();
    return Object.hasOwn(fields, name) ? new Json(fields[name], `${this.place}.${name}`) : undefined;
  }

  /** Refuses whatever is not named here: what is not understood must not be passed over. */
  only(names: readonly string[]): this {
    const unknown = Object.keys(this.#fields()).find((name) => !names.includes(name));
    return unknown === undefined ? this : this.#fail("has a field that is unknown");
  }

  text(): string {
    return typeof this.value === "string" ? this.value : this.#fail("is not text");
  }

  /** One of the values that are known. @throws AttestationError UNSUPPORTED for any other */
  oneOf<const Value extends string | number>(known: readonly Value[]): Value {
    const value = known.find((candidate) => candidate === this.value);
    if (value !== undefined) return value;
    throw new AttestationError("UNSUPPORTED", `${this.place} is none of ${known.join(", ")}`);
  }

  /** A whole number from 0 to 2^53 - 1. */
  integer(): number {
    return Number.isSafeInteger(this.value) && (this.value as number) >= 0
      ? (this.value as number)
      : this.#fail("is not a whole number");
  }

  list(): Json[] {
    if (!Array.isArray(this.value)) return this.#fail("is not a list");
    return this.value.map((item: unknown, index) => new Json(item, `${this.place}[${index}]`));
  }

  /** Names and values of an object. */
  entries(): [string, Json][] {
    return Object.entries(this.#fields()).map(([name, value]) => [name, new Json(value, `${this.place}.${name}`)]);
  }

  /** Lower-case hex; of `length` bytes when given. */
  hex(length?: number): Buffer {
    const text = this.text();
    const good = /^(?:[0-9a-f]{2})*$/.test(text) && (length === undefined || text.length === 2 * length);
    return good ? Buffer.from(text, "hex") : this.#fail(`is not ${length ?? "any number of"} bytes in lower-case hex`);
  }

  /** Hex in either case, of `length` bytes. */
  anyHex(length: number): Buffer {
    const text = this.text();
    return /^[0-9a-fA-F]*$/.test(text) && text.length === 2 * length
      ? Buffer.from(text, "hex")
      : this.#fail(`is not ${length} bytes in hex`);
  }

  /** Base64 with padding, in its one form (RFC 4648 section 4). */
  base64(): Buffer {
    const bytes = Buffer.from(this.text(), "base64");
    return bytes.toString("base64") === this.value ? bytes : this.#fail("is not base64");
  }

  /** Base64url without padding, in its one form (RFC 4648 section 5). */
  base64url(): Buffer {
    const bytes = Buffer.from(this.text(), "base64url");
    return bytes.toString("base64url") === this.value ? bytes : this.#fail("is not base64url");
  }

  /** A time in the form 2026-01-31T23:59:59Z. */
  time(): Date {
    const text = this.text();
    const time = new Date(text);
    const good = !Number.isNaN(time.getTime()) && time.toISOString().replace(".000Z", "Z") === text;
    return good ? time : this.#fail("is not a time in UTC");
  }

  #stringified(): string {
    try {
      return JSON.stringify(this.value);
    } catch {
      return ""; // it is nested deeper than the stack is
    }
  }

  #fields(): Record<string, unknown> {
    const { value } = this;
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : this.#fail("is not an object");
  }

  #fail(what: string): never {
    throw new AttestationError("MALFORMED", `${this.place} ${what}`);
  }
}
