import type { NonEmpty } from "../evidence/evidence.ts";

import { PolicyRefused } from "./policy-refused.ts";

/**
 * Takes the members out of one object of a policy. Each has to be taken, and be what it should be: a word that nobody understands might
 * have been meant to demand something. Faults are `PolicyRefused`s that name the place: `platforms[0].code.pcr11`.
 */
export class PolicyFields {
  readonly #path: string;
  readonly #left: Map<string, unknown>;

  /** @throws PolicyRefused POLICY_INVALID when `value` is no object */
  constructor(path: string, value: unknown) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid(path, "must be an object");
    this.#path = path;
    this.#left = new Map(Object.entries(value));
  }

  names(): string[] {
    return [...this.#left.keys()];
  }

  /** The place of a member, for messages. */
  at(name: string): string {
    return this.#path === "" ? name : `${this.#path}.${name}`;
  }

  take(name: string): unknown {
    const value = this.#left.get(name);
    if (value === undefined) throw invalid(this.at(name), "is missing");
    this.#left.delete(name);
    return value;
  }

  text(name: string, pattern: RegExp, what: string): string {
    return text(this.at(name), this.take(name), pattern, what);
  }

  word<const W extends string>(name: string, ...words: W[]): W {
    const value = this.take(name);
    const word = words.find((each) => each === value);
    if (word === undefined) throw invalid(this.at(name), `must be ${words.map((each) => `"${each}"`).join(" or ")}`);
    return word;
  }

  /** At least one of a few words. */
  words<const W extends string>(name: string, ...words: W[]): NonEmpty<W> {
    return this.list(name, (path, item) => {
      const word = words.find((each) => each === item);
      if (word === undefined) throw invalid(path, `must be one of ${words.join(", ")}`);
      return word;
    });
  }

  integer(name: string, min: number, max: number): number {
    const value = this.take(name);
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw invalid(this.at(name), `must be a whole number from ${min} to ${max}`);
  }

  object(name: string): PolicyFields {
    return new PolicyFields(this.at(name), this.take(name));
  }

  /** A list with at least one item: an empty list of pins would let anything pass, or nothing. */
  texts(name: string, pattern: RegExp, what: string): NonEmpty<string> {
    return this.list(name, (path, item) => text(path, item, pattern, what));
  }

  list<T>(name: string, read: (path: string, item: unknown) => T): NonEmpty<T> {
    const value = this.take(name);
    if (!Array.isArray(value)) throw invalid(this.at(name), "must be a list");
    const [first, ...rest] = value.map((item: unknown, index) => read(`${this.at(name)}[${index}]`, item));
    if (first === undefined) throw invalid(this.at(name), "must not be empty");
    return [first, ...rest];
  }

  /** A list that may be empty: of what is put up with, not of what is demanded. */
  allowances(name: string, pattern: RegExp, what: string): readonly string[] {
    const value = this.take(name);
    if (!Array.isArray(value)) throw invalid(this.at(name), "must be a list");
    return value.map((item: unknown, index) => text(`${this.at(name)}[${index}]`, item, pattern, what));
  }

  /** Some of a few words; may be empty. */
  someOf<const W extends string>(name: string, ...words: W[]): readonly W[] {
    const value = this.take(name);
    if (!Array.isArray(value)) throw invalid(this.at(name), "must be a list");
    return value.map((item: unknown, index) => {
      const word = words.find((each) => each === item);
      if (word === undefined) throw invalid(`${this.at(name)}[${index}]`, `must be one of ${words.join(", ")}`);
      return word;
    });
  }

  /** Has everything been taken? @throws PolicyRefused POLICY_INVALID */
  end(): void {
    const [other] = this.#left.keys();
    if (other !== undefined) throw invalid(this.at(other), "is not known here");
  }
}

function text(path: string, value: unknown, pattern: RegExp, what: string): string {
  if (typeof value === "string" && pattern.test(value)) return value;
  throw invalid(path, `must be ${what}`);
}

/** What is wrong with a policy, and where. */
export function invalid(path: string, why: string): PolicyRefused {
  return new PolicyRefused("POLICY_INVALID", path === "" ? why : `${path} ${why}`);
}
