import { expect, test } from "vitest";

import { systemRandom } from "../random.ts";
import { appraise, type Evidence, mediaTypes, type NonEmpty, type Platform } from "./index.ts";
import { createAzureExample } from "./testing/azure-cvm.ts";
import { createNitroExample } from "./testing/nitro-example.ts";
import { refusal } from "./testing/refusal.ts";
import { createSnpExample } from "./testing/sev-snp-example.ts";
import { createSoftSigner, issueSoftEvidence } from "./testing/soft.ts";
import { createTdxExample } from "./testing/tdx-example.ts";
import { createQuotingKey, tpm2EvidenceOf } from "./testing/tpm2.ts";
import { readCertificate } from "./x509.ts";

const at = new Date("2026-03-01T12:00:00Z");
const [nonce, reportData] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const expected = { nonce, reportData, at };

const nitro = createNitroExample(at, expected);
const snp = createSnpExample(at, reportData);
const tdx = createTdxExample(at, reportData);
const azure = createAzureExample(at, reportData, "sev-snp");
const validity = { notBefore: new Date(at.getTime() - 1000), notAfter: new Date(at.getTime() + 1000) };
const soft = createSoftSigner({ random: systemRandom, validity });
const tpm = createQuotingKey();

const of = (type: Platform["type"], evidence: Uint8Array, endorsements: readonly Uint8Array[] = []): Evidence => ({
  mediaType: mediaTypes[type],
  evidence,
  endorsements,
});
const genuine: Readonly<Record<Platform["type"], Evidence>> = {
  tpm2: tpm2EvidenceOf(tpm.quote({ extraData: reportData, pcrs: new Map([[11, Buffer.alloc(32, 5)]]) })),
  "aws-nitro": of("aws-nitro", nitro.document()),
  "sev-snp": of("sev-snp", snp.report(), snp.certificates),
  tdx: of("tdx", tdx.quote(), [tdx.collateral()]),
  "azure-cvm": azure.evidence(),
  soft: issueSoftEvidence({ ...expected, madeAt: at, measurements: { code: "1" }, identity: { machine: "2" } }, soft),
};
const platforms: NonEmpty<Platform> = [
  {
    type: "tpm2",
    pins: {
      code: [{ name: "pcr11", values: ["05".repeat(32)] }],
      identity: { by: "ak-name", names: [tpm.name] },
    },
  },
  { type: "aws-nitro", pins: nitro.pins },
  { type: "sev-snp", pins: snp.pins },
  { type: "tdx", pins: tdx.pins },
  { type: "azure-cvm", pins: azure.pins },
  {
    type: "soft",
    pins: {
      development: true,
      roots: [readCertificate(soft.certificates.at(-1)!).fingerprint],
      code: [{ name: "code", values: ["1"] }],
      identity: [{ name: "machine", values: ["2"] }],
      maxAgeMs: 1000,
      clockSkewMs: 1000,
    },
  },
];
const types = platforms.map(({ type }) => type);

test.each(types)("evidence of %s is appraised by what is pinned of its kind", (type) => {
  expect(appraise(genuine[type], expected, platforms).type).toBe(type);
});

test.each(types)("evidence of %s is not accepted where its kind is not listed", (type) => {
  const [first, ...others] = platforms.filter((platform) => platform.type !== type);
  expect(refusal(() => appraise(genuine[type], expected, [first!, ...others])).code).toBe("NOT_ACCEPTED");
});

test.each(types)("evidence of %s is refused for other claims, and under the name of any other kind", (type) => {
  const other = { ...expected, reportData: Buffer.alloc(32, 9) };
  expect(refusal(() => appraise(genuine[type], other, platforms)).code).toBe("REPORT_DATA");
  for (const name of types.filter((candidate) => candidate !== type)) {
    const renamed = { ...genuine[type], mediaType: mediaTypes[name] };
    expect(refusal(() => appraise(renamed, expected, platforms)).code).toBeDefined();
  }
});

test("a kind that nobody knows is not accepted, whatever its name is like", () => {
  const names = ["", "application/json", "tdx", `${mediaTypes.tdx} `, mediaTypes.tdx.toUpperCase(), "constructor"];
  for (const mediaType of names) {
    expect(refusal(() => appraise({ ...genuine.tdx, mediaType }, expected, platforms))).toEqual({
      code: "NOT_ACCEPTED",
      message: "this kind of evidence is not accepted; the policy lists tpm2, aws-nitro, sev-snp, tdx, azure-cvm, soft",
    });
  }
});

test("of several platforms of one kind, one has to be met in full", () => {
  const old: Platform = { type: "tdx", pins: { ...tdx.pins, mrtd: ["09".repeat(48)] } };
  const elsewhere: Platform = { type: "tdx", pins: { ...tdx.pins, identity: [{ name: "ppid", values: ["09"] }] } };
  expect(appraise(genuine.tdx, expected, [old, elsewhere, ...platforms]).type).toBe("tdx");
  const { code, message } = refusal(() => appraise(genuine.tdx, expected, [old, elsewhere]));
  expect(code).toBe("MEASUREMENT");
  expect(message).toMatch(
    /^none of 2 platforms is met: \(1\) the TDX quote: mrtd is .*; \(2\) the TDX quote: ppid is /,
  );
});

test("who asks for too little gets no answer", () => {
  const ask = (changes: Partial<typeof expected>): unknown =>
    appraise(genuine.tdx, { ...expected, ...changes }, platforms);
  expect(() => ask({ nonce: Buffer.alloc(15) })).toThrow(TypeError);
  expect(() => ask({ nonce: Buffer.alloc(65) })).toThrow(TypeError);
  expect(() => ask({ reportData: Buffer.alloc(31) })).toThrow(TypeError);
  expect(() => ask({ at: new Date(NaN) })).toThrow(TypeError);
});
