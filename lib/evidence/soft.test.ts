import { generateKeyPairSync } from "node:crypto";

import { describe, expect, test } from "vitest";

import { systemRandom } from "../random.ts";
import { type Evidence, mediaTypes, type Verified } from "./evidence.ts";
import { type SoftPins, softVerifier } from "./soft.ts";
import { createTestRoot } from "./testing/authority.ts";
import { flipped, mulberry, mutate } from "./testing/mutation.ts";
import { refusal } from "./testing/refusal.ts";
import { createSoftSigner, issueSoftEvidence, type SoftClaims } from "./testing/soft.ts";
import { readCertificate } from "./x509.ts";

const at = new Date("2026-03-01T12:00:00Z");
const seconds = (n: number): Date => new Date(at.getTime() + n * 1000);
const making = { random: systemRandom, validity: { notBefore: seconds(-3600), notAfter: seconds(3600) } };
const signer = createSoftSigner(making);
const [nonce, reportData] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const claims: SoftClaims = {
  nonce,
  reportData,
  madeAt: at,
  measurements: { code: "0".repeat(63) + "1" },
  identity: { machine: "ada's laptop" },
};
const pins: SoftPins = {
  development: true,
  roots: [readCertificate(signer.certificates.at(-1)!).fingerprint],
  code: [{ name: "code", values: ["0".repeat(63) + "1"] }],
  identity: [{ name: "machine", values: ["ada's laptop"] }],
  maxAgeMs: 60_000,
  clockSkewMs: 5_000,
};

const verify = (evidence: Evidence, over: Partial<SoftPins> = {}, time = at): Verified =>
  softVerifier.verify(evidence, { nonce, reportData, at: time }, { ...pins, ...over });
const issue = (
  changes: Partial<SoftClaims> = {},
  forgery?: Parameters<typeof issueSoftEvidence>[2],
  by = signer,
): Evidence => issueSoftEvidence({ ...claims, ...changes }, by, forgery);

test("soft evidence is verified, with a warning, by who says that this is development", () => {
  expect(verify(issue())).toEqual({
    type: "soft",
    measurements: claims.measurements,
    identity: claims.identity,
    madeAt: at,
    warnings: ["no hardware vouches for this worker: for development only"],
  });
  for (const development of [undefined, false, "true", 1]) {
    expect(refusal(() => verify(issue(), { development } as unknown as SoftPins)).code).toBe("NOT_ACCEPTED");
  }
});

describe("soft evidence is refused", () => {
  test.each<[string, string, Partial<SoftClaims>, Parameters<typeof issueSoftEvidence>[2]]>([
    ["for another nonce", "NONCE", { nonce: Buffer.alloc(32, 9) }, {}],
    ["for other claims", "REPORT_DATA", { reportData: Buffer.alloc(32, 9) }, {}],
    ["of other code", "MEASUREMENT", { measurements: { code: "2" } }, {}],
    ["of no code", "MEASUREMENT", { measurements: {} }, {}],
    ["of another machine", "IDENTITY", { identity: { machine: "eve's" } }, {}],
    ["too old", "STALE", { madeAt: seconds(-61) }, {}],
    ["from the future", "STALE", { madeAt: seconds(6) }, {}],
    ["with no algorithm", "UNSUPPORTED", {}, { header: { alg: "none" } }],
    ["with HMAC", "UNSUPPORTED", {}, { header: { alg: "HS256" } }],
    ["of another type", "UNSUPPORTED", {}, { header: { typ: "JWT" } }],
    ["with a critical header", "MALFORMED", {}, { header: { crit: ["exp"] } }],
    ["with a key of its own", "MALFORMED", {}, { header: { jwk: {} } }],
    ["with certificates that are none", "MALFORMED", {}, { header: { x5c: ["AAAA"] } }],
    ["with certificates in another encoding", "MALFORMED", {}, { header: { x5c: ["AA AA"] } }],
    ["with claims that nobody knows", "MALFORMED", {}, { claims: { exp: 1 } }],
    ["with a time that is none", "MALFORMED", {}, { claims: { iat: "now" } }],
    ["with report data of another length", "MALFORMED", {}, { claims: { report_data: "00" } }],
    ["with a measurement that is no text", "MALFORMED", {}, { claims: { measurements: { code: 1 } } }],
  ])("%s: %s", (_what, code, changes, forgery) => {
    expect(refusal(() => verify(issue(changes, forgery))).code).toBe(code);
  });

  test("under another root, by another key, or on another curve", () => {
    expect(refusal(() => verify(issue({}, {}, createSoftSigner(making)))).code).toBe("ROOT");
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    expect(refusal(() => verify(issue({}, {}, { ...signer, key: privateKey }))).code).toBe("SIGNATURE");
    const root = createTestRoot("root", making);
    const { key, der } = root.endEntity("worker", { keys: "P-384" });
    const roots = [readCertificate(root.der).fingerprint] as const;
    expect(refusal(() => verify(issue({}, {}, { key, certificates: [der, root.der] }), { roots })).code).toBe(
      "UNSUPPORTED",
    );
    expect(refusal(() => verify(issue(), { maxAgeMs: 1e9 }, seconds(3601))).code).toBe("STALE");
  });

  test("as another type, or with endorsements", () => {
    expect(refusal(() => verify({ ...issue(), mediaType: mediaTypes.tpm2 })).code).toBe("NOT_ACCEPTED");
    expect(refusal(() => verify({ ...issue(), endorsements: [Buffer.alloc(1)] })).code).toBe("MALFORMED");
  });

  test("with any byte changed", () => {
    const evidence = Buffer.from(issue().evidence);
    for (let index = 0; index < evidence.length; index += 5) {
      const spoilt = { ...issue(), evidence: flipped(evidence, index) };
      expect(refusal(() => verify(spoilt)).code, `byte ${index}`).toBeDefined();
    }
  });

  test("when it is spoilt, cleanly", () => {
    const [evidence, below] = [Buffer.from(issue().evidence), mulberry(4)];
    for (let n = 0; n < 1000; n++) {
      const spoilt = mutate(evidence, below);
      if (!spoilt.equals(evidence)) expect(refusal(() => verify({ ...issue(), evidence: spoilt })).code).toBeDefined();
    }
  });
});
