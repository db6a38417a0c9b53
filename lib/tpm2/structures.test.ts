import { createSign, generateKeyPairSync, sign } from "node:crypto";

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { algorithm } from "./constants.ts";
import { TpmError } from "./errors.ts";
import type { HashName } from "./hash.ts";
import { TpmFormatError, TpmReader, TpmWriter } from "./marshal.ts";
import { extendedPcr, pcrDigest, pcrSelection, readPcrSelection } from "./pcr.ts";
import { authorizationMessage, policyOfAuthorization, policyOfPcrs } from "./policy.ts";
import { type EccPublic, marshalPublic, nameOf, parsePublic, publicKeyOf, type TpmPublic } from "./public-area.ts";
import { parseQuote } from "./quote.ts";
import { isSignedBy, marshalSignature, parseSignature, type TpmSignature } from "./signature.ts";
import { attestationKey, hmacKey, sealedData, storageRootKey, verificationKey } from "./templates.ts";

const bytes = (max: number, min = 0): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: min, maxLength: max });
const hash = fc.constantFrom<HashName[]>("sha1", "sha256", "sha384", "sha512");
const common = { nameHash: hash, attributes: fc.nat(0xffffffff), authPolicy: bytes(64) };
const aesBits = fc.option(fc.constantFrom(128, 256), { nil: undefined });
const schemeOf = <N extends string>(...names: N[]): fc.Arbitrary<{ name: N; hash: HashName } | undefined> =>
  fc.option(fc.record({ name: fc.constantFrom(...names), hash }), { nil: undefined });

/** A key whose value is undefined stands for one that is not there. */
const compact = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;

const publicArea: fc.Arbitrary<TpmPublic> = fc
  .oneof(
    fc.record({
      type: fc.constant("ecc" as const),
      ...common,
      aesBits,
      scheme: schemeOf("ecdsa"),
      curve: fc.constantFrom("P-256" as const, "P-384" as const),
      x: bytes(32),
      y: bytes(32),
    }),
    fc.record({
      type: fc.constant("rsa" as const),
      ...common,
      aesBits,
      scheme: schemeOf("rsassa", "rsapss"),
      bits: fc.nat(4096),
      exponent: fc.nat(0xffffffff),
      modulus: bytes(512),
    }),
    fc.record({ type: fc.constant("keyed-hash" as const), ...common, scheme: schemeOf("hmac"), unique: bytes(64) }),
  )
  .map((area) => compact(area) as TpmPublic);

const comparable = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, field: unknown) => (field instanceof Uint8Array ? toHex(field) : field)));
const toHex = (of: Uint8Array): string => Buffer.from(of).toString("hex");

/** Buffers turn themselves into objects before a replacer sees them. */
function plain(area: TpmPublic): unknown {
  return comparable(
    Object.fromEntries(
      Object.entries(area).map(([name, value]) => [
        name,
        value instanceof Uint8Array ? toHex(value) : (value as unknown),
      ]),
    ),
  );
}

describe("a public area", () => {
  test("comes back from its bytes as it was, and its bytes from it", () => {
    fc.assert(
      fc.property(publicArea, (area) => {
        const marshalled = marshalPublic(area);
        const parsed = parsePublic(marshalled);
        expect(plain(parsed)).toEqual(plain(area));
        expect(marshalPublic(parsed)).toEqual(marshalled);
      }),
    );
  });

  test("is refused with bytes after its end, or cut anywhere", () => {
    const whole = marshalPublic(storageRootKey);
    expect(() => parsePublic(Buffer.concat([whole, Buffer.of(0)]))).toThrow(/1 bytes after its end/);
    for (let length = 0; length < whole.length; length++) {
      expect(() => parsePublic(whole.subarray(0, length))).toThrow(TpmFormatError);
    }
  });

  test("has another name when anything in it is another", () => {
    const names = [storageRootKey, attestationKey("a"), attestationKey("b"), sealedData(Buffer.alloc(32))]
      .concat(hmacKey(Buffer.alloc(32), "made-inside"), hmacKey(Buffer.alloc(32), "brought-in"))
      .map((area) => toHex(nameOf(area)));
    expect(new Set(names).size).toBe(names.length);
    expect(names.every((name) => /^000b[0-9a-f]{64}$/.test(name))).toBe(true);
  });

  test("of a key gives the key for node:crypto, whatever zeros its coordinates begin with", () => {
    for (let i = 0; i < 20; i++) {
      const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const area = verificationKey(publicKey) as EccPublic;
      const stripped = { ...area, x: withoutZeros(area.x), y: withoutZeros(area.y) };
      expect(publicKeyOf(stripped).equals(publicKey)).toBe(true);
    }
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    expect(publicKeyOf(verificationKey(publicKey)).equals(publicKey)).toBe(true);
  });

  test("that is on no curve, or of data, gives no key", () => {
    const off: EccPublic = { ...storageRootKey, x: Buffer.alloc(32, 1), y: Buffer.alloc(32, 2) };
    expect(() => publicKeyOf(off)).toThrow(/no public key that can be used/);
    expect(() => publicKeyOf(sealedData(Buffer.alloc(32)))).toThrow(/no public key/);
  });

  test("is made of no Ed25519 key, and of no RSA key with a small exponent", () => {
    expect(() => verificationKey(generateKeyPairSync("ed25519").publicKey)).toThrow(/ECDSA P-256 keys and by RSA/);
    const odd = generateKeyPairSync("rsa", { modulusLength: 2048, publicExponent: 3 }).publicKey;
    expect(() => verificationKey(odd)).toThrow(/ECDSA P-256 keys and by RSA/);
  });
});

describe("a signature", () => {
  const message = Buffer.from("what was quoted");
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ecdsa = (hashName: HashName): TpmSignature => {
    const raw = sign(hashName, message, { key: ec.privateKey, dsaEncoding: "ieee-p1363" });
    return { scheme: "ecdsa", hash: hashName, r: raw.subarray(0, 32), s: raw.subarray(32) };
  };
  const rsassa: TpmSignature = {
    scheme: "rsassa",
    hash: "sha256",
    value: createSign("sha256").update(message).sign(rsa.privateKey),
  };

  test("comes back from its bytes, and verifies", () => {
    for (const [signature, key] of [
      [ecdsa("sha256"), ec.publicKey],
      [rsassa, rsa.publicKey],
    ] as const) {
      const parsed = parseSignature(marshalSignature(signature));
      expect(isSignedBy(key, message, parsed)).toBe(true);
      expect(isSignedBy(key, Buffer.from("something else"), parsed)).toBe(false);
    }
  });

  test("by SHA-1, by another key or of another kind than the key verifies under none", () => {
    expect(isSignedBy(ec.publicKey, message, ecdsa("sha1"))).toBe(false);
    expect(isSignedBy(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey, message, ecdsa("sha256"))).toBe(
      false,
    );
    expect(isSignedBy(rsa.publicKey, message, ecdsa("sha256"))).toBe(false);
    expect(isSignedBy(ec.publicKey, message, rsassa)).toBe(false);
  });
});

describe("PCRs", () => {
  test("are selected by bits, the lowest first (Part 2, section 10.6.1)", () => {
    expect(toHex(pcrSelection([0, 7, 11, 23]))).toBe("00000001000b03810880");
  });

  test("selections come back from their bytes", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(23)), (pcrs) => {
        const read = TpmReader.whole(pcrSelection(pcrs), "the selection", readPcrSelection);
        expect(read).toEqual([{ hash: "sha256", pcrs: [...pcrs].sort((a, b) => a - b) }]);
      }),
    );
  });

  test("are digested in ascending order, however they were given", () => {
    const [a, b] = [extendedPcr(Buffer.alloc(32), Buffer.alloc(32, 1)), Buffer.alloc(32, 2)];
    expect(
      pcrDigest(
        new Map([
          [11, b],
          [7, a],
        ]),
      ),
    ).toEqual(
      pcrDigest(
        new Map([
          [7, a],
          [11, b],
        ]),
      ),
    );
  });

  test("that do not exist cannot be asked for", () => {
    expect(() => pcrSelection([24])).toThrow("there is no PCR 24");
  });
});

describe("policies", () => {
  test("depend on every PCR, its value, the key and the reference", () => {
    const policies = [
      policyOfPcrs(new Map([[11, Buffer.alloc(32)]])),
      policyOfPcrs(new Map([[12, Buffer.alloc(32)]])),
      policyOfPcrs(new Map([[11, Buffer.alloc(32, 1)]])),
      policyOfAuthorization(nameOf(storageRootKey), Buffer.from("a")),
      policyOfAuthorization(nameOf(storageRootKey), Buffer.from("b")),
      policyOfAuthorization(nameOf(attestationKey("x")), Buffer.from("a")),
    ].map(toHex);
    expect(new Set(policies).size).toBe(policies.length);
  });

  test("are signed together with their reference", () => {
    expect(toHex(authorizationMessage(Buffer.of(1), Buffer.of(2)))).toBe("0102");
  });
});

describe("anything else", () => {
  test("is refused with a TpmFormatError by every parser, and by nothing else", () => {
    const parsers = [parsePublic, parseQuote, parseSignature];
    fc.assert(
      fc.property(bytes(600), (junk) => {
        for (const parse of parsers) expectCleanly(() => parse(junk));
      }),
      { numRuns: 3000 },
    );
  });

  test("that begins like the real thing is refused cleanly too", () => {
    const starts = [
      marshalPublic(attestationKey("x")),
      marshalPublic(sealedData(Buffer.alloc(32))),
      new TpmWriter().u32(0xff544347).u16(0x8018).sized(Buffer.alloc(34)).sized(Buffer.alloc(32)).done(),
      new TpmWriter().u16(algorithm.ecdsa).u16(algorithm.sha256).sized(Buffer.alloc(32)).sized(Buffer.alloc(32)).done(),
    ];
    fc.assert(
      fc.property(fc.constantFrom(...starts), fc.nat(), fc.nat(255), bytes(80), (start, at, value, tail) => {
        const changed = Buffer.concat([start, tail]);
        changed[at % changed.length] = value;
        for (const parse of [parsePublic, parseQuote, parseSignature]) expectCleanly(() => parse(changed));
      }),
      { numRuns: 3000 },
    );
  });
});

describe("an answer's response code", () => {
  test.each([
    [0x99d, "the policy of this session is not the one that the object asks for (0x99d, session 1)"],
    [0x1c4, "a value is out of range, or not the one that is asked for (0x1c4, parameter 1)"],
    [0x2db, "the signature is not by that key (0x2db, parameter 2)"],
    [0x18b, "there is no such handle (0x18b, handle 1)"],
    [0x921, "it is locked out after too many failed authorizations"],
    [0x902, "something was not flushed"],
    [0x7ff, "for a reason that has no words here"],
  ])("0x%s is put into words", (code, words) => {
    expect(new TpmError(code, 0x15e).message).toContain(`the TPM refuses TPM2_Unseal: `);
    expect(new TpmError(code, 0x15e).message).toContain(words);
  });
});

function expectCleanly(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(TpmFormatError);
  }
}

function withoutZeros(of: Uint8Array): Uint8Array {
  return of.subarray(of.findIndex((byte) => byte !== 0));
}
