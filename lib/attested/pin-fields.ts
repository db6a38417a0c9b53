import type { NonEmpty, Pin } from "../evidence/index.ts";

import { invalid, type PolicyFields } from "./policy-fields.ts";

export const SHA256 = /^[0-9a-f]{64}$/;
export const SHA384 = /^[0-9a-f]{96}$/;

type PcrName = `pcr${number}`;

/** The registers of a TPM, and of a Nitro enclave. */
export const pcrs: readonly PcrName[] = Array.from({ length: 24 }, (_, i): PcrName => `pcr${i}`);

/** SHA-256 of the certificates that evidence may lead to. */
export function rootsOf(fields: PolicyFields): NonEmpty<string> {
  return fields.texts("roots_sha256", SHA256, "the SHA-256 of a certificate, 64 lower-case hex characters");
}

/** An object of pins that all look alike: at least one name, each with at least one value. */
export function pinsOf<Name extends string>(
  fields: PolicyFields,
  { names, values }: { names: readonly Name[]; values: RegExp },
): NonEmpty<Pin<Name>> {
  return allowedPins(fields, forEach(names, values));
}

/** An object of pins, each with a pattern of its own. */
export function allowedPins<Name extends string>(
  fields: PolicyFields,
  allowed: Readonly<Record<Name, RegExp>>,
): NonEmpty<Pin<Name>> {
  const [first, ...rest] = fields.names().map((each): Pin<Name> => {
    const name = (Object.keys(allowed) as Name[]).find((known) => known === each);
    if (name === undefined) throw invalid(fields.at(each), "is nothing that this kind of evidence has");
    return { name, values: fields.texts(name, allowed[name], "a value as this kind of evidence has it") };
  });
  if (first === undefined) throw invalid(fields.at("…"), "must pin something");
  return [first, ...rest];
}

/** An object of pins by names that nobody but the worker knows; values are compared as text. */
export function anyPins(fields: PolicyFields): NonEmpty<Pin<string>> {
  const names = fields.names().filter((name) => /^[a-z][a-z0-9_]{0,63}$/.test(name));
  return allowedPins(fields, forEach(names, /^[ -~]{1,256}$/));
}

/** An object with exactly one pin. */
export function onePin<Name extends string>(fields: PolicyFields, allowed: Readonly<Record<Name, RegExp>>): Pin<Name> {
  const [pin, ...others] = allowedPins(fields, allowed);
  const [other] = others;
  if (other !== undefined)
    throw invalid(fields.at(other.name), `cannot be pinned beside ${pin.name}: one of them decides`);
  return pin;
}

export function forEach<Name extends string, T>(names: readonly Name[], value: T): Record<Name, T> {
  return Object.fromEntries(names.map((name) => [name, value])) as Record<Name, T>;
}
