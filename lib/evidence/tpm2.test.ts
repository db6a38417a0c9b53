import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import {
  activateCredential,
  createPrimary,
  EK_RSA_CERTIFICATE_INDEX,
  EK_RSA_HANDLE,
  objectAttribute,
  parseSignature,
  policyEndorsement,
  quote,
  readNv,
  readPcrs,
  readPublic,
  startSession,
  template,
  type Tpm,
} from "../tpm2/index.ts";
import { nameOf, type RsaPublic } from "../tpm2/public-area.ts";
import type { TpmSignature } from "../tpm2/signature.ts";
import { hasSwtpm, startTestTpm, type TestTpm } from "../tpm2/testing/swtpm.ts";
import type { Evidence, Expected, NonEmpty } from "./evidence.ts";
import type { Pin } from "./pins.ts";
import { flipped, mulberry, mutate } from "./testing/mutation.ts";
import { refusal } from "./testing/refusal.ts";
import { sample, samplesAreHere } from "./testing/samples.ts";
import { createQuotingKey, type Quoted, tpm2EvidenceOf } from "./testing/tpm2.ts";
import { ActivatedKey, beginActivation, type Tpm2Pins, tpm2Verifier, verifyQuote } from "./tpm2.ts";
import { AttestationError } from "./evidence.ts";

const [code7, code11] = [Buffer.alloc(32, 7), Buffer.alloc(32, 11)];
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const pcrs = new Map([
  [7, code7],
  [11, code11],
]);
const expected: Expected = { nonce: Buffer.alloc(32, 1), reportData: Buffer.alloc(32, 2), at: new Date() };
const key = createQuotingKey();
const says = (changes: Partial<Quoted> = {}): Evidence =>
  tpm2EvidenceOf(key.quote({ extraData: expected.reportData, pcrs, ...changes }));
const code: NonEmpty<Pin<`pcr${number}`>> = [{ name: "pcr11", values: [hex(code11)] }];
const pins: Tpm2Pins = { code, identity: { by: "ak-name", names: [key.name] } };
const refused = (evidence: Evidence, with_: Partial<Tpm2Pins> = {}, asked: Partial<Expected> = {}) =>
  refusal(() => tpm2Verifier.verify(evidence, { ...expected, ...asked }, { ...pins, ...with_ }));

describe("a quote", () => {
  test("of the pinned code, by the pinned key, over the report data is verified", () => {
    expect(tpm2Verifier.verify(says(), expected, pins)).toEqual({
      type: "tpm2",
      measurements: { pcr11: hex(code11) },
      identity: { ak_name: key.name },
      platform: {
        firmwareVersion: "2019102300163636",
        resetCount: 7,
        restartCount: 3,
        clockMs: 123_456n,
        clockSafe: true,
      },
      warnings: [],
    });
  });

  test.each<[string, string, Evidence, Partial<Tpm2Pins>, Partial<Expected>]>([
    ["REPORT_DATA", "over other report data", says(), {}, { reportData: Buffer.alloc(32, 3) }],
    ["MEASUREMENT", "of other code", says(), { code: [{ name: "pcr11", values: [hex(code7)] }] }, {}],
    ["MEASUREMENT", "that leaves a pinned PCR out", says(), { code: [{ name: "pcr4", values: [hex(code7)] }] }, {}],
    [
      "MEASUREMENT",
      "of a PCR that nothing was measured into",
      says({ pcrs: new Map([[11, Buffer.alloc(32)]]) }),
      { code: [{ name: "pcr11", values: [hex(Buffer.alloc(32))] }] },
      {},
    ],
    ["IDENTITY", "by another key", says(), { identity: { by: "ak-name", names: [createQuotingKey().name] } }, {}],
    ["MALFORMED", "that no TPM made", says({ magic: 0xff544348 }), {}, {}],
    ["MALFORMED", "that attests something else", says({ tag: 0x8014 }), {}, {}],
    ["SIGNATURE", "signed with another hash than the key's own", says({ hash: "sha384" }), {}, {}],
    ["SIGNATURE", "signed with SHA-1", says({ hash: "sha1" }), {}, {}],
    ["UNSUPPORTED", "of the SHA-1 bank", says({ selections: [{ hash: "sha1", pcrs: [7, 11] }] }), {}, {}],
    [
      "UNSUPPORTED",
      "of two banks",
      says({
        selections: [
          { hash: "sha256", pcrs: [7, 11] },
          { hash: "sha384", pcrs: [7] },
        ],
      }),
      {},
      {},
    ],
    ["MEASUREMENT", "of other PCRs than the values", says({ selections: [{ hash: "sha256", pcrs: [7, 12] }] }), {}, {}],
  ])("is refused as %s: %s", (reason, _what, evidence, with_, asked) => {
    expect(refused(evidence, with_, asked).code).toBe(reason);
  });

  test("with other values than it digests is refused", () => {
    const honest = key.quote({ extraData: expected.reportData, pcrs });
    const lie = tpm2EvidenceOf({ ...honest, pcrs: new Map([...pcrs, [11, Buffer.alloc(32, 9)]]) });
    expect(refused(lie, { code: [{ name: "pcr11", values: ["09".repeat(32)] }] }).code).toBe("MEASUREMENT");
  });

  test("by a key that may sign other things, may leave its TPM or came from outside is refused", () => {
    const { restricted, fixedTpm, sensitiveDataOrigin, sign, decrypt } = objectAttribute;
    for (const attributes of [
      key.area.attributes & ~restricted,
      key.area.attributes & ~fixedTpm,
      key.area.attributes & ~sensitiveDataOrigin,
      key.area.attributes & ~sign,
      key.area.attributes | decrypt,
    ]) {
      expect(refused(says({ area: { ...key.area, attributes } })).code).toBe("IDENTITY");
    }
  });

  test("by an RSA key is by the scheme that is its own, and by an exponent that a TPM's has", () => {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const { n = "" } = publicKey.export({ format: "jwk" });
    const area: RsaPublic = {
      type: "rsa",
      nameHash: "sha256",
      attributes: key.area.attributes,
      authPolicy: Buffer.alloc(0),
      scheme: { name: "rsassa", hash: "sha256" },
      bits: 2048,
      exponent: 0,
      modulus: Buffer.from(n, "base64url"),
    };
    const { attest } = key.quote({ extraData: expected.reportData, pcrs });
    const signed = (scheme: "rsassa" | "rsapss"): TpmSignature => {
      const padding = scheme === "rsassa" ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_PSS_PADDING;
      return { scheme, hash: "sha256", value: sign("sha256", attest, { key: privateKey, padding }) };
    };
    const by = (akPublic: RsaPublic, signature: TpmSignature): [Evidence, Tpm2Pins] => [
      tpm2EvidenceOf({ attest, signature, akPublic, pcrs }),
      { code, identity: { by: "ak-name", names: [hex(nameOf(akPublic))] } },
    ];
    const [good, its] = by(area, signed("rsassa"));
    expect(tpm2Verifier.verify(good, expected, its).type).toBe("tpm2");
    expect(refused(...by(area, signed("rsapss"))).code).toBe("SIGNATURE");
    // With the exponent 1 a signature is the padded message itself: anybody makes it.
    expect(refused(...by({ ...area, exponent: 1 }, signed("rsassa"))).code).toBe("UNSUPPORTED");
    expect(refused(...by({ ...area, exponent: 3 }, signed("rsassa"))).code).toBe("UNSUPPORTED");
    const even = Buffer.from(area.modulus);
    even[255] = (even[255] ?? 0) & 0xfe;
    expect(refused(...by({ ...area, modulus: even }, signed("rsassa"))).code).toBe("SIGNATURE");
  });

  test("whose r or s is nothing that a signature has is refused", () => {
    const honest = key.quote({ extraData: expected.reportData, pcrs });
    const { signature } = honest;
    if (signature.scheme !== "ecdsa") throw new Error("the test key is ECDSA's");
    const order = Buffer.from("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", "hex");
    for (const odd of [Buffer.alloc(0), Buffer.alloc(32), order, Buffer.alloc(32, 0xff), Buffer.alloc(48, 0xff)]) {
      for (const half of ["r", "s"]) {
        const spoilt = tpm2EvidenceOf({ ...honest, signature: { ...signature, [half]: odd } });
        expect(refused(spoilt).code).toBe("SIGNATURE");
      }
    }
  });

  test("by a key with no scheme of its own, or one for SHA-1, is refused", () => {
    const open = { ...key.area };
    delete open.scheme;
    expect(refused(says({ area: open })).code).toBe("UNSUPPORTED");
    expect(refused(says({ area: { ...key.area, scheme: { name: "ecdsa", hash: "sha1" } } })).code).toBe("UNSUPPORTED");
    expect(refused(says({ area: { ...key.area, nameHash: "sha1" } })).code).toBe("UNSUPPORTED");
  });

  test("of another media type, or too large, is refused before it is read", () => {
    expect(refused({ ...says(), mediaType: "application/json" }).code).toBe("NOT_ACCEPTED");
    expect(refused({ ...says(), evidence: Buffer.alloc(20_000, 0x20) }).code).toBe("MALFORMED");
    expect(refused({ ...says(), endorsements: Array.from({ length: 7 }, () => Buffer.alloc(1)) }).code).toBe(
      "MALFORMED",
    );
  });

  test("is refused with any of its bytes changed", () => {
    const { evidence, ...rest } = says();
    for (let index = 0; index < evidence.length; index++) {
      expect(refused({ ...rest, evidence: flipped(Buffer.from(evidence), index) }).code).toMatch(/^[A-Z_]+$/);
    }
  });

  test("is refused with an added field, other spacing or another order of fields", () => {
    const text = Buffer.from(says().evidence).toString();
    for (const other of [
      text.replace("{", '{"more":1,'),
      text.replace(":", ": "),
      text + "\n",
      JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text) as object).reverse())),
      text.replace('"version":1', '"version":2'),
      "null",
      "[]",
      "",
    ]) {
      expect(["MALFORMED", "UNSUPPORTED"]).toContain(refused({ ...says(), evidence: Buffer.from(other) }).code);
    }
  });

  test("spoiled at random is refused cleanly", () => {
    const below = mulberry(20261129);
    const whole = Buffer.from(says().evidence);
    for (let i = 0; i < 3000; i++) {
      const spoiled = mutate(whole, below);
      if (spoiled.equals(whole)) continue;
      expect(refused({ ...says(), evidence: spoiled }).code).toMatch(/^[A-Z_]+$/);
    }
  });
});

describe("an endorsement key that the evidence names", () => {
  test("is not challenged where there is none, or none that only decrypts", () => {
    expect(refusal(() => beginActivation(says())).code).toBe("IDENTITY");
    const quoted = key.quote({ extraData: expected.reportData, pcrs });
    const signing = tpm2EvidenceOf({ ...quoted, ekPublic: key.area });
    expect(refusal(() => beginActivation(signing)).code).toBe("IDENTITY");
  });

  const { n = "" } = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ format: "jwk" });
  const ekOf = (changes: Partial<RsaPublic> = {}): RsaPublic => {
    const { fixedTpm, restricted, decrypt } = objectAttribute;
    return {
      type: "rsa",
      nameHash: "sha256",
      attributes: fixedTpm | restricted | decrypt,
      authPolicy: Buffer.alloc(32),
      aesBits: 128,
      bits: 2048,
      exponent: 0,
      modulus: Buffer.from(n, "base64url"),
      ...changes,
    };
  };
  const naming = (ekPublic: RsaPublic): Evidence =>
    tpm2EvidenceOf({ ...key.quote({ extraData: expected.reportData, pcrs }), ekPublic });
  const challenged = (changes: Partial<RsaPublic>) => (): unknown => beginActivation(naming(ekOf(changes)));

  test("is challenged by encryption that holds, and otherwise refused cleanly", () => {
    const modulus = (bits: number): Buffer => {
      const { n = "" } = generateKeyPairSync("rsa", { modulusLength: bits }).publicKey.export({ format: "jwk" });
      return Buffer.from(n, "base64url");
    };
    expect(challenged({})).not.toThrow();
    expect(challenged({ aesBits: 256 })).not.toThrow();
    for (const aesBits of [0, 1, 8, 64, 192, 257, 65_535]) {
      expect(refusal(challenged({ aesBits })).code, `AES with ${aesBits} bits`).toBe("UNSUPPORTED");
    }
    for (const bits of [512, 1024]) {
      expect(refusal(challenged({ bits, modulus: modulus(bits) })).code, `RSA with ${bits} bits`).toBe("UNSUPPORTED");
    }
    for (const exponent of [1, 2, 4]) {
      expect(refusal(challenged({ exponent })).code, `exponent ${exponent}`).toBe("UNSUPPORTED");
    }
    expect(["UNSUPPORTED", "MALFORMED"]).toContain(refusal(challenged({ modulus: Buffer.alloc(0) })).code);
    expect(["UNSUPPORTED", "MALFORMED"]).toContain(refusal(challenged({ modulus: Buffer.alloc(256) })).code);
  });

  test("spoilt at random is challenged or refused, cleanly", () => {
    const below = mulberry(11);
    const { evidence, ...rest } = naming(ekOf());
    const { ek_public: ek, ...others } = JSON.parse(Buffer.from(evidence).toString()) as Record<string, string>;
    const { version, attest, signature, ak_public, pcrs: values } = others;
    for (let n = 0; n < 2000; n++) {
      const ek_public = mutate(Buffer.from(ek ?? "", "base64"), below).toString("base64");
      const text = JSON.stringify({ version, attest, signature, ak_public, ek_public, pcrs: values });
      try {
        beginActivation({ ...rest, evidence: Buffer.from(text) });
      } catch (error) {
        expect(error).toBeInstanceOf(AttestationError);
      }
    }
  });
});

describe.skipIf(!hasSwtpm("lib/evidence/tpm2", process.env))("a TPM that the policy knows by its maker", () => {
  let machine: TestTpm;
  let tpm: Tpm;
  let evidence: Evidence;
  let seen: NonEmpty<Pin<`pcr${number}`>>;
  const der = (pem: string): Buffer => new X509Certificate(pem).raw;
  const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

  beforeAll(async () => {
    machine = await startTestTpm();
    tpm = await machine.open();
    evidence = await tpm.use(async (t) => {
      const ak = await createPrimary(t, "endorsement", template.attestationKey("test"));
      const made = await quote(t, ak, expected.reportData, [7, 17]);
      const values = await readPcrs(t, [7, 17]);
      seen = [{ name: "pcr17", values: [hex(values.get(17) ?? Buffer.alloc(0))] }];
      const certificate = (await readNv(t, EK_RSA_CERTIFICATE_INDEX)) ?? Buffer.alloc(0);
      const ekPublic = (await readPublic(t, EK_RSA_HANDLE)).public;
      return tpm2EvidenceOf(
        { attest: made.attest, signature: parseSignature(made.signature), akPublic: ak.public, ekPublic, pcrs: values },
        [certificate, der(machine.authority.issuer), der(machine.authority.root)],
      );
    });
  });
  afterAll(async () => {
    await tpm.close();
    await machine.stop();
  });

  const activated = async (): Promise<ActivatedKey> => {
    const { challenge, finish } = beginActivation(evidence);
    const answer = await tpm.use(async (t) => {
      const ek = await readPublic(t, EK_RSA_HANDLE);
      const ak = await createPrimary(t, "endorsement", template.attestationKey("test"));
      const session = await startSession(t, "policy", ek);
      await policyEndorsement(t, session);
      return activateCredential(t, ak, ek, challenge, session);
    });
    expect(refusal(() => finish(Buffer.alloc(32))).code).toBe("IDENTITY");
    return finish(answer);
  };
  const root = (): string => sha256(der(machine.authority.root));
  const at = (): Expected => ({ ...expected, at: new Date() });

  test("is verified by its maker's root once it has given the credential back, with a warning", async () => {
    const by = await activated();
    const verified = tpm2Verifier.verify(evidence, at(), {
      code: seen,
      identity: { by: "ek-root", roots: [root()], activated: by },
    });
    expect(verified.identity).toEqual({ ak_name: by.akName, ek_key: by.ekKey, ek_root: root() });
    expect(verified.warnings).toHaveLength(1);
    const pinned = tpm2Verifier.verify(evidence, at(), {
      code: seen,
      identity: { by: "ek-key", keys: [by.ekKey], activated: by },
    });
    expect(pinned.warnings).toEqual([]);
  });

  test("is refused by another root, another key's activation, a foreign certificate or at another time", async () => {
    const by = await activated();
    const verify = (identity: Tpm2Pins["identity"], of = evidence, when = at()): string =>
      refusal(() => tpm2Verifier.verify(of, when, { code: seen, identity })).code;
    expect(verify({ by: "ek-root", roots: ["00".repeat(32)], activated: by })).toBe("ROOT");
    expect(verify({ by: "ek-key", keys: ["00".repeat(32)], activated: by })).toBe("IDENTITY");
    const other = ActivatedKey.proven(key.name, by.ekKey);
    expect(verify({ by: "ek-root", roots: [root()], activated: other })).toBe("IDENTITY");
    const elsewhere = ActivatedKey.proven(by.akName, "00".repeat(32));
    expect(verify({ by: "ek-root", roots: [root()], activated: elsewhere })).toBe("IDENTITY");
    const none = { ...evidence, endorsements: [] };
    expect(verify({ by: "ek-root", roots: [root()], activated: by }, none)).toBe("MALFORMED");
    const early = { ...expected, at: new Date("2000-01-01T00:00:00Z") };
    expect(verify({ by: "ek-root", roots: [root()], activated: by }, evidence, early)).toBe("STALE");
  });
});

describe.skipIf(!samplesAreHere)("quotes captured from real hardware", () => {
  const json = (name: string): Record<string, unknown> =>
    JSON.parse(sample(name).toString()) as Record<string, unknown>;
  /** The first PCR that something was measured into. */
  const pinOf = (values: ReadonlyMap<number, Uint8Array>): NonEmpty<Pin<`pcr${number}`>> => {
    const [pcr, value] = [...values].find(([, bytes]) => bytes.some((byte) => byte !== 0)) ?? [0, Buffer.alloc(0)];
    return [{ name: `pcr${pcr}`, values: [hex(value)] }];
  };

  test("verify by the key that signed them, and by none other", () => {
    const file = json("tpm/trustee-tpm_evidence.json") as {
      ak_public: string;
      tpm_quote: { message: string; signature: string; pcrs: string[] };
    };
    const { message, signature, pcrs: list } = file.tpm_quote;
    const values = new Map(list.map((value, pcr) => [pcr, Buffer.from(value.replace(/^0x/, ""), "hex")]));
    const attest = Buffer.from(message, "base64");
    const quoted = {
      key: createPublicKey({ key: Buffer.from(file.ak_public, "base64"), format: "der", type: "spki" }),
      attest,
      signature: parseSignature(Buffer.from(signature, "base64")),
      pcrs: values,
      extraData: attest.subarray(44, 44 + attest.readUInt16BE(42)),
      code: pinOf(values),
    };
    expect(Object.keys(verifyQuote(quoted).measurements)).toHaveLength(1);
    const other = createQuotingKey().privateKey;
    expect(refusal(() => verifyQuote({ ...quoted, key: createPublicKey(other) })).code).toBe("SIGNATURE");
    expect(refusal(() => verifyQuote({ ...quoted, extraData: randomBytes(32) })).code).toBe("REPORT_DATA");
  });
});

test("the error is the one that every verifier throws", () => {
  expect(() => tpm2Verifier.verify({ ...says(), mediaType: "" }, expected, pins)).toThrow(AttestationError);
});
