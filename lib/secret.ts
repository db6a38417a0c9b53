import { timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";

/**
 * A value that must not be printed: `String()`, template literals, `JSON.stringify`, `console.log` and loggers all show
 * `[redacted]`. Only `reveal()` gives it out, so that every use can be found by searching for that name.
 */
export class Secret<T = string> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return "[redacted]";
  }

  toJSON(): string {
    return "[redacted]";
  }

  [inspect.custom](): string {
    return "[redacted]";
  }
}

/** Compares two byte strings in a time that depends on their lengths only. */
export function equalSecrets(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
