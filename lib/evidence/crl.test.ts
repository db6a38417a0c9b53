import { constants, generateKeyPairSync, sign } from "node:crypto";

import { describe, expect, test } from "vitest";

import { systemRandom } from "../random.ts";
import { signed } from "./certificate.ts";
import { readRevocations } from "./crl.ts";
import { readDer, sequenceOf } from "./der.ts";
import {
  derBits,
  derBoolean,
  derExplicit,
  derNull,
  derOctets,
  derOid,
  derSequence,
  derUnsigned,
} from "./der-writer.ts";
import { createTestRoot, type TestAuthority, type TestKeys } from "./testing/authority.ts";
import { type CrlClaims, issueCrl } from "./testing/crl.ts";
import { flipped, mulberry, mutate } from "./testing/mutation.ts";
import { refusal } from "./testing/refusal.ts";
import { readCertificate } from "./x509.ts";

const at = new Date("2026-03-01T12:00:00Z");
const days = (n: number): Date => new Date(at.getTime() + n * 864e5);
const validity = { notBefore: days(-100), notAfter: days(100) };
const authority = (keys: TestKeys): TestAuthority => createTestRoot("root", { random: systemRandom, validity, keys });
const roots = { "P-256": authority("P-256"), "P-384": authority("P-384"), RSA: authority("RSA") };
const list = (issuer: CrlClaims["issuer"], revoked: readonly string[] = ["0a", "0b"]): Buffer =>
  issueCrl({ issuer, thisUpdate: days(-1), nextUpdate: days(1), revoked });
const read = (bytes: Uint8Array, by: TestAuthority, time = at): string[] => [
  ...readRevocations(bytes, readCertificate(by.der), time),
];
const refused = (...given: Parameters<typeof read>): string => refusal(() => read(...given)).code;

describe.each(Object.entries(roots))("a revocation list signed by a key of the kind %s", (_, root) => {
  test("is read under its issuer, as long as it is current", () => {
    expect(read(list(root), root)).toEqual(["0a", "0b"]);
    expect(read(list(root, []), root)).toEqual([]);
    expect(refused(list(root), root, days(2))).toBe("STALE");
    expect(refused(list(root), root, days(-2))).toBe("STALE");
    expect(refused(list(root), root, new Date(NaN))).toBe("STALE");
  });

  test("is refused under another issuer's key, or with any byte changed", () => {
    const other = authority("P-256");
    expect(refused(list({ subject: "root", key: other.key }), root)).toBe("SIGNATURE");
    expect(refused(list({ subject: "other", key: root.key }), root)).toBe("ROOT");
    const genuine = list(root);
    for (let index = 0; index < genuine.length; index++) {
      expect(refused(flipped(genuine, index), root), `byte ${index}`).toMatch(/^[A-Z_]+$/);
    }
  });

  test("is refused cleanly when it is spoilt, also where it was signed again", () => {
    const [genuine, below] = [list(root), mulberry(6)];
    const content = sequenceOf(readDer(genuine))[0]!.encoded;
    for (let n = 0; n < 500; n++) {
      const spoilt = mutate(genuine, below);
      if (!spoilt.equals(genuine)) expect(refused(spoilt, root)).toMatch(/^[A-Z_]+$/);
      try {
        read(signed(mutate(content, below), root.key), root);
      } catch (error) {
        expect(error).toHaveProperty("name", "AttestationError");
      }
    }
  });
});

test("a list has entries and extensions, each once, and nothing else", () => {
  const root = roots["P-384"];
  const parts = sequenceOf(sequenceOf(readDer(list(root)))[0]).map(({ encoded }) => encoded);
  const again = (...more: readonly Buffer[]): Buffer => signed(derSequence(...parts, ...more), root.key);
  const extensions = derExplicit(0, derSequence());
  expect(read(again(extensions), root)).toEqual(["0a", "0b"]);
  const twoValues = derExplicit(
    0,
    derSequence(derSequence(derOid("1.2.3"), derBoolean(false), derOctets(Buffer.of()), derNull())),
  );
  for (const odd of [
    again(twoValues),
    again(derSequence()),
    again(extensions, extensions),
    again(derExplicit(1, derSequence())),
  ]) {
    expect(refused(odd, root)).toBe("MALFORMED");
  }
});

describe("RSA-PSS", () => {
  const root = roots.RSA;
  const sha = { sha256: "2.16.840.1.101.3.4.2.1", sha384: "2.16.840.1.101.3.4.2.2", sha1: "1.3.14.3.2.26" } as const;
  type Hash = keyof typeof sha;
  interface Parameters {
    hash?: Hash;
    mask?: Hash;
    salt?: number;
    more?: readonly Buffer[];
  }
  const algorithmOf = ({ hash = "sha384", mask = hash, salt = 48, more = [] }: Parameters): Buffer => {
    const named = (name: Hash): Buffer => derSequence(derOid(sha[name]), derNull());
    return derSequence(
      derOid("1.2.840.113549.1.1.10"),
      derSequence(
        derExplicit(0, named(hash)),
        derExplicit(1, derSequence(derOid("1.2.840.113549.1.1.8"), named(mask))),
        derExplicit(2, derUnsigned(salt)),
        ...more,
      ),
    );
  };
  /** A list that says that it is signed in one way, and is in another. */
  const listSigned = (says: Parameters, is: { hash?: Hash; salt?: number; pkcs1?: boolean } = {}): Buffer => {
    const parts = sequenceOf(sequenceOf(readDer(list(root)))[0]).map(({ encoded }) => encoded);
    const tbs = derSequence(...parts.with(1, algorithmOf(says)));
    const { hash = "sha384", salt = 48, pkcs1 = false } = is;
    const padding = pkcs1 ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_PSS_PADDING;
    const signature = sign(hash, tbs, { key: root.key, padding, ...(!pkcs1 && { saltLength: salt }) });
    return derSequence(tbs, algorithmOf(says), derBits(signature));
  };

  test("is verified with the hash and salt that it names, and with no other", () => {
    expect(read(listSigned({}), root)).toEqual(["0a", "0b"]);
    expect(read(listSigned({ hash: "sha256", salt: 32 }, { hash: "sha256", salt: 32 }), root)).toEqual(["0a", "0b"]);
    expect(refused(listSigned({}, { salt: 32 }), root)).toBe("SIGNATURE");
    expect(refused(listSigned({}, { hash: "sha256" }), root)).toBe("SIGNATURE");
    expect(refused(listSigned({}, { pkcs1: true }), root)).toBe("SIGNATURE");
  });

  test.each<[string, Parameters]>([
    ["SHA-1", { hash: "sha1" }],
    ["a mask by another hash", { mask: "sha256" }],
    ["a short salt", { salt: 20 }],
    ["another trailer", { more: [derExplicit(3, derUnsigned(2))] }],
    ["a parameter given twice", { more: [derExplicit(2, derUnsigned(48))] }],
    ["a parameter that is unknown", { more: [derExplicit(4, derUnsigned(1))] }],
  ])("with %s is refused", (_, parameters) => {
    expect(refused(listSigned(parameters), root)).toBe("UNSUPPORTED");
  });

  test("by a key that is none of RSA is by no key", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    const content = sequenceOf(readDer(listSigned({})))[0]!.encoded;
    const forged = derSequence(content, algorithmOf({}), derBits(sign("sha384", content, privateKey)));
    expect(refused(forged, roots["P-384"])).toBe("SIGNATURE");
  });
});
