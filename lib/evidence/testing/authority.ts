import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";

import type { RandomBytes } from "../../random.ts";
import { basicConstraints, type Extension, issue, keyUsage } from "../certificate.ts";

/** Makes certificates under a root of its own: every path of a verifier, on any machine. */
export interface TestAuthority {
  subject: string;
  key: KeyObject;
  der: Buffer;
  /** From this one's own certificate to the root's: what follows an end entity in a chain. */
  chain: readonly Buffer[];
  /** Issues a certificate for an authority below this one. */
  authority(subject: string, options?: AuthorityOptions): TestAuthority;
  /** Issues a certificate for a key that signs evidence. */
  endEntity(subject: string, options?: EndEntityOptions): { key: KeyObject; der: Buffer };
}

export interface AuthorityOptions {
  keys?: TestKeys;
  pathLength?: number;
  extensions?: readonly Extension[];
  validity?: Validity;
}

export interface EndEntityOptions {
  keys?: TestKeys;
  extensions?: readonly Extension[];
  validity?: Validity;
}

export interface Validity {
  notBefore: Date;
  notAfter: Date;
}

export type TestKeys = "P-256" | "P-384" | "RSA";

interface Making {
  random: RandomBytes;
  validity: Validity;
}

/** Makes a root. Its certificates are valid within `validity` unless told otherwise. */
export function createTestRoot(
  subject: string,
  { random, validity, ...options }: AuthorityOptions & Making,
): TestAuthority {
  const key = makeKey(options.keys ?? "P-384");
  return certify(subject, key, { subject, key }, [], options, { random, validity });
}

function certify(
  subject: string,
  key: KeyObject,
  issuer: { subject: string; key: KeyObject },
  above: readonly Buffer[],
  { pathLength, extensions, validity }: AuthorityOptions,
  making: Making,
): TestAuthority {
  const { der } = issue({
    subject,
    publicKey: createPublicKey(key),
    issuer,
    ...(validity ?? making.validity),
    extensions: extensions ?? [
      basicConstraints(pathLength === undefined ? {} : { pathLength }),
      keyUsage("keyCertSign", "cRLSign"),
    ],
    random: making.random,
  });
  const chain = [der, ...above];
  return {
    subject,
    key,
    der,
    chain,
    authority: (name, options = {}) =>
      certify(name, makeKey(options.keys ?? "P-384"), { subject, key }, chain, options, making),
    endEntity(name, { keys, extensions: own, validity: period } = {}) {
      const leafKey = makeKey(keys ?? "P-384");
      const leaf = issue({
        subject: name,
        publicKey: createPublicKey(leafKey),
        issuer: { subject, key },
        ...(period ?? making.validity),
        extensions: own ?? [basicConstraints("end-entity"), keyUsage("digitalSignature")],
        random: making.random,
      });
      return { key: leafKey, der: leaf.der };
    },
  };
}

function makeKey(keys: TestKeys): KeyObject {
  return keys === "RSA"
    ? generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey
    : generateKeyPairSync("ec", { namedCurve: keys }).privateKey;
}
