import { generateKeyPairSync } from "node:crypto";

import { describe, expect, test } from "vitest";

import { systemRandom } from "../random.ts";
import { type Cbor, decodeCbor, encodeCbor } from "./cbor.ts";
import { type AttestationError, mediaTypes, type Verified } from "./evidence.ts";
import { appraiseNitro, authenticateNitro, AWS_NITRO_ROOT, type NitroPins, nitroVerifier } from "./nitro.ts";
import { createTestRoot } from "./testing/authority.ts";
import { flipped, mulberry, mutate } from "./testing/mutation.ts";
import { type NitroClaims, type NitroForgery, signCose } from "./testing/nitro.ts";
import { createNitroExample, nitroSignerUnder } from "./testing/nitro-example.ts";
import { refusal } from "./testing/refusal.ts";
import { sample, samplesAreHere } from "./testing/samples.ts";
import { readCertificate } from "./x509.ts";

const at = new Date("2026-03-01T12:00:00Z");
const minutes = (n: number): Date => new Date(at.getTime() + n * 60_000);
const [nonce, reportData] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const { root, zonal, signer, claims, pins, document: issue } = createNitroExample(at, { nonce, reportData });
const pcr = (fill: number): Buffer => Buffer.alloc(48, fill);
const hex = (fill: number): string => pcr(fill).toString("hex");

const verify = (document: Buffer, over: { pins?: Partial<NitroPins>; at?: Date } = {}): Verified =>
  nitroVerifier.verify(
    { mediaType: mediaTypes["aws-nitro"], evidence: document, endorsements: [] },
    { nonce, reportData, at: over.at ?? at },
    { ...pins, ...over.pins },
  );
test("a document of the pinned code in the pinned account is verified", () => {
  expect(verify(issue())).toEqual({
    type: "aws-nitro",
    measurements: { pcr0: hex(16) },
    identity: { module_id: "i-0123-enc0", pcr3: hex(19), public_key: Buffer.from("a public key").toString("hex") },
    madeAt: at,
    warnings: [],
  });
});

test("so is one of an instance with NitroTPM, for whom pins its PCRs", () => {
  const document = issue({ source: "nitrotpm", pcrs: new Map([[4, pcr(4)]]), publicKey: null });
  const { measurements, identity } = verify(document, {
    pins: {
      source: "nitrotpm",
      code: [{ name: "pcr4", values: [hex(4)] }],
      identity: [{ name: "module_id", values: ["i-0123-enc0"] }],
    },
  });
  expect({ measurements, identity }).toEqual({
    measurements: { pcr4: hex(4) },
    identity: { module_id: "i-0123-enc0" },
  });
  expect(refusal(() => verify(document)).code).toBe("MEASUREMENT");
});

describe("a document is refused", () => {
  test.each<[string, string, Partial<NitroClaims>, NitroForgery]>([
    ["for another nonce", "NONCE", { nonce: Buffer.alloc(32, 9) }, {}],
    ["for no nonce", "NONCE", { nonce: null }, {}],
    ["for other claims", "REPORT_DATA", { userData: Buffer.alloc(32, 9) }, {}],
    ["for no claims", "REPORT_DATA", { userData: null }, {}],
    ["of other code", "MEASUREMENT", { pcrs: new Map([...claims.pcrs, [0, pcr(77)]]) }, {}],
    ["of another account", "IDENTITY", { pcrs: new Map([...claims.pcrs, [3, pcr(77)]]) }, {}],
    ["in debug mode", "DEBUG", { pcrs: new Map([...claims.pcrs, [2, pcr(0)]]) }, {}],
    ["with a PCR left out", "DEBUG", { pcrs: new Map([[0, pcr(16)]]) }, {}],
    ["too old", "STALE", { madeAt: minutes(-2) }, {}],
    ["from the future", "STALE", { madeAt: minutes(1) }, {}],
    ["with another digest", "UNSUPPORTED", {}, { fields: [["digest", "SHA256"]] }],
    ["with a field that nobody knows", "UNSUPPORTED", {}, { fields: [["policy", 1]] }],
    ["with two kinds of PCRs", "MALFORMED", {}, { fields: [["nitrotpm_pcrs", claims.pcrs]] }],
    ["with PCRs of another size", "MALFORMED", { pcrs: new Map([[0, Buffer.alloc(32, 1)]]) }, {}],
    ["with a PCR that does not exist", "MALFORMED", { pcrs: new Map([[32, pcr(1)]]) }, {}],
    ["without a timestamp", "MALFORMED", {}, { fields: [["timestamp", 0]] }],
    ["without a module_id", "MALFORMED", {}, { fields: [["module_id", ""]] }],
    ["with an overlong nonce", "MALFORMED", { nonce: Buffer.alloc(513) }, {}],
    ["with a certificate that is text", "MALFORMED", {}, { fields: [["certificate", "x"]] }],
    ["without a bundle", "MALFORMED", {}, { fields: [["cabundle", null]] }],
    ["with another algorithm", "UNSUPPORTED", {}, { protectedHeader: new Map([[1, -7]]) }],
    [
      "with further headers",
      "UNSUPPORTED",
      {},
      {
        protectedHeader: new Map<number, Cbor>([
          [1, -35],
          [4, "x"],
        ]),
      },
    ],
    ["with unprotected headers", "UNSUPPORTED", {}, { unprotected: new Map([[1, -35]]) }],
  ])("%s: %s", (_what, code, changes, forgery) => {
    expect(refusal(() => verify(issue(changes, forgery))).code).toBe(code);
  });

  test("signed by another key than its certificate's", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    expect(refusal(() => verify(issue({}, {}, { ...signer, key: privateKey }))).code).toBe("SIGNATURE");
  });

  test("signed by a key on a weaker curve", () => {
    const weak = zonal.endEntity("weak", { keys: "P-256" });
    const by = { ...weak, chain: zonal.chain };
    expect(refusal(() => verify(issue({}, {}, by))).code).toBe("UNSUPPORTED");
  });

  test("under another root, even one of the same name", () => {
    const other = createTestRoot("test nitro root", {
      random: systemRandom,
      validity: { notBefore: minutes(-600), notAfter: minutes(600) },
    });
    expect(refusal(() => verify(issue({}, {}, nitroSignerUnder(other, at)))).code).toBe("ROOT");
    expect(refusal(() => verify(issue(), { pins: { roots: [AWS_NITRO_ROOT] } })).code).toBe("ROOT");
  });

  test("when its certificate has run out, however old a document the policy takes", () => {
    expect(refusal(() => verify(issue(), { at: minutes(91), pins: { maxAgeMs: 1e9 } })).code).toBe("STALE");
  });

  test("when a pin is of zeros: they say that nothing was measured", () => {
    const pcrs = new Map([...claims.pcrs, [8, pcr(0)] as const]);
    const zero = { identity: [{ name: "pcr8", values: [hex(0)] }] } as const;
    expect(refusal(() => verify(issue({ pcrs }), { pins: zero })).code).toBe("IDENTITY");
  });

  test("with a tag other than COSE_Sign1's, a fifth part, or bytes after it", () => {
    const parts = decodeCbor(issue()) as readonly Cbor[];
    expect(verify(Buffer.concat([Buffer.of(0xd2), issue()])).type).toBe("aws-nitro");
    expect(refusal(() => verify(Buffer.concat([Buffer.of(0xd1), issue()]))).code).toBe("MALFORMED");
    expect(refusal(() => verify(encodeCbor([...parts, null]))).code).toBe("MALFORMED");
    expect(refusal(() => verify(Buffer.concat([issue(), Buffer.of(0)]))).code).toBe("MALFORMED");
    expect(refusal(() => verify(signCose(encodeCbor([1]), signer.key))).code).toBe("MALFORMED");
  });

  test("with endorsements, as another type, or too long", () => {
    const evidence = issue();
    const expected = { nonce, reportData, at };
    const mediaType = mediaTypes["aws-nitro"];
    const offer = (given: Parameters<typeof nitroVerifier.verify>[0]): string =>
      refusal(() => nitroVerifier.verify(given, expected, pins)).code;
    expect(offer({ mediaType, evidence, endorsements: [root.der] })).toBe("MALFORMED");
    expect(offer({ mediaType: mediaTypes.tdx, evidence, endorsements: [] })).toBe("NOT_ACCEPTED");
    expect(offer({ mediaType, evidence: Buffer.alloc(20_000), endorsements: [] })).toBe("MALFORMED");
  });
});

test("a module_id is compared as a whole, and has to be text that can be shown", () => {
  const pinned = { identity: [{ name: "module_id", values: ["i".repeat(64)] }] } as const;
  const code = (moduleId: string): string => refusal(() => verify(issue({ moduleId }), { pins: pinned })).code;
  expect(verify(issue({ moduleId: "i".repeat(64) }), { pins: pinned }).type).toBe("aws-nitro");
  expect(code("i".repeat(65))).toBe("IDENTITY");
  expect(code("i".repeat(300))).toBe("MALFORMED");
  expect(code("i\u00e4")).toBe("MALFORMED");
  const question = { identity: [{ name: "module_id", values: ["i?"] }] } as const;
  expect(refusal(() => verify(issue({ moduleId: "i\u00e4" }), { pins: question })).code).toBe("MALFORMED");
});

test("a certificate that is valid for long is refused: nothing would tell that it was revoked", () => {
  const days = (n: number): Date => minutes(n * 24 * 60);
  const under = (zonalDays: number, leafDays: number): Buffer => {
    const long = createTestRoot("long", {
      random: systemRandom,
      validity: { notBefore: days(-9999), notAfter: days(9999) },
    });
    const between = long.authority("zonal", { validity: { notBefore: days(-1), notAfter: days(zonalDays - 1) } });
    const leaf = between.endEntity("i-0", { validity: { notBefore: days(-1), notAfter: days(leafDays - 1) } });
    roots = [readCertificate(long.der).fingerprint];
    return issue({}, {}, { ...leaf, chain: between.chain });
  };
  let roots: NitroPins["roots"] = pins.roots;
  const outcome = (document: Buffer): string => {
    try {
      return verify(document, { pins: { roots } }).type;
    } catch (error) {
      return (error as AttestationError).code;
    }
  };
  expect(outcome(under(21, 1))).toBe("aws-nitro");
  expect(outcome(under(45, 45))).toBe("aws-nitro");
  expect(outcome(under(46, 1))).toBe("UNSUPPORTED");
  expect(outcome(under(20, 46))).toBe("UNSUPPORTED");
});

test("no byte of a document can be changed", () => {
  const document = issue();
  for (let index = 0; index < document.length; index += 7) {
    expect(refusal(() => verify(flipped(document, index))).code, `byte ${index}`).toBeDefined();
  }
});

test("spoilt documents are refused cleanly", () => {
  const [document, below] = [issue(), mulberry(1)];
  for (let n = 0; n < 1000; n++) {
    const spoilt = mutate(document, below);
    if (!spoilt.equals(document)) expect(refusal(() => verify(spoilt)).code).toBeDefined();
  }
});

describe.skipIf(!samplesAreHere)("documents captured from AWS", () => {
  /** The dstack project wraps documents: two bytes, a compact length of four, the document, more. */
  const unwrapped = (bytes: Buffer): Buffer => bytes.subarray(4, 4 + (bytes.readUInt16LE(2) >> 2));
  const whole = (name: string): Buffer => sample(name);
  const wrapped = (name: string): Buffer => unwrapped(sample(name));
  // Read in the tests: this much runs also where they are skipped.
  const genuine = [
    ["nitro/evervault-valid.bin", whole],
    ["dstack/dstack-attest_tests_nitro_attestation.bin", wrapped],
    ["dstack/nsm-attest_tests_nitro_attestation.bin", wrapped],
  ] as const;
  const debug = [
    ["nitro/evervault-debug.bin", whole],
    ["nitro/evervault-ga.b64", whole],
    ["dstack/dstack-attest_tests_nitro_attestation_dbg.bin", wrapped],
  ] as const;
  const timeOf = (document: Buffer): Date => {
    const [, , payload] = decodeCbor(document) as readonly Buffer[];
    return new Date((decodeCbor(payload!) as ReadonlyMap<string, number>).get("timestamp")!);
  };
  const aws = { ...pins, roots: [AWS_NITRO_ROOT] } as const;

  test.each(genuine)("%s is verified at its time, with its own measurements", (file, bytesOf) => {
    const document = bytesOf(file);
    const time = timeOf(document);
    const read = authenticateNitro(document, { roots: [AWS_NITRO_ROOT], at: time });
    const pinned = (name: "pcr0" | "pcr4") => [{ name, values: [read.pcrs[name]!] }] as const;
    const own: NitroPins = { ...aws, code: pinned("pcr0"), identity: pinned("pcr4") };
    expect(appraiseNitro(read, time, own).measurements).toEqual({ pcr0: read.pcrs.pcr0 });

    const later = (ms: number): Date => new Date(time.getTime() + ms);
    expect(refusal(() => appraiseNitro(read, later(61_000), own)).code).toBe("STALE");
    expect(refusal(() => authenticateNitro(document, { roots: [AWS_NITRO_ROOT], at: later(864e5) })).code).toBe(
      "STALE",
    );
    expect(refusal(() => authenticateNitro(document, { roots: pins.roots, at: time })).code).toBe("ROOT");
    expect(refusal(() => appraiseNitro(read, time, { ...own, code: aws.code })).code).toBe("MEASUREMENT");
    expect(refusal(() => appraiseNitro(read, time, { ...own, identity: aws.identity })).code).toBe("IDENTITY");
    expect(refusal(() => verify(document, { at: time, pins: own })).code).toBe("NONCE");
    for (let index = 5; index < document.length; index += 53) {
      const refused = refusal(() => authenticateNitro(flipped(document, index), { roots: [AWS_NITRO_ROOT], at: time }));
      expect(refused.code, `byte ${index}`).toBeDefined();
    }
  });

  test.each(debug)("%s is refused: its enclave is in debug mode", (file, bytesOf) => {
    const document = bytesOf(file);
    const time = timeOf(document);
    const read = authenticateNitro(document, { roots: [AWS_NITRO_ROOT], at: time });
    expect(
      refusal(() => appraiseNitro(read, time, { ...aws, code: [{ name: "pcr4", values: [read.pcrs.pcr4!] }] })).code,
    ).toBe("DEBUG");
  });
});
