import { generateKeyPairSync } from "node:crypto";

import { describe, expect, test } from "vitest";

import { systemRandom } from "../../random.ts";
import type { Extension } from "../certificate.ts";
import { readCertificates, verifyChain } from "../chain.ts";
import { derUnsigned } from "../der-writer.ts";
import { type AttestationError, mediaTypes, type NonEmpty, type Verified } from "../evidence.ts";
import { createTestRoot } from "../testing/authority.ts";
import { type CrlClaims, issueCrl } from "../testing/crl.ts";
import { flipped, mulberry, mutate } from "../testing/mutation.ts";
import { refusal } from "../testing/refusal.ts";
import { sample, samplePem, samplesAreHere } from "../testing/samples.ts";
import { issueSnpReport, type SnpClaims, snpExtensions } from "../testing/sev-snp.ts";
import { createSnpExample } from "../testing/sev-snp-example.ts";
import { readCertificate } from "../x509.ts";
import { type SnpPlatformTrait, traitsOf } from "./platform-info.ts";
import { readSnpReport } from "./report.ts";
import type { SnpRevocation } from "./revocation.ts";
import { certifiedTcb, hardwareIdOf, productOf, type SnpProduct, tcbParts } from "./tcb.ts";
import { AMD_ROOTS, appraiseSnp, authenticateSnp, knownBroken, type SnpPins, snpVerifier } from "./verify.ts";

const at = new Date("2026-03-01T12:00:00Z");
const days = (n: number): Date => new Date(at.getTime() + n * 864e5);
const making = { random: systemRandom, validity: { notBefore: days(-100), notAfter: days(100) } };
const reportData = Buffer.alloc(32, 2);
const example = createSnpExample(at, reportData);
const { ask, claims: genoa, pins, platform, report: issue, certificates: genoaCertificates } = example;
const { tcb } = genoa;

const verify = (report: Buffer, certificates = genoaCertificates, over: Partial<SnpPins> = {}, time = at): Verified =>
  snpVerifier.verify(
    { mediaType: mediaTypes["sev-snp"], evidence: report, endorsements: certificates },
    { nonce: Buffer.alloc(32), reportData, at: time },
    { ...pins, ...over },
  );
test.each([2, 3, 4, 5])("a report of version %i is verified", (version) => {
  expect(verify(issue({ version }))).toEqual({
    type: "sev-snp",
    measurements: { measurement: "03".repeat(48) },
    identity: { chip_id: "07".repeat(64) },
    warnings: [],
  });
});

test("a report by a VLEK names the cloud instead of the chip", () => {
  const { key, certificates } = platform("Genoa", { cspId: "CN=cloud.example" }, tcb);
  const claims: SnpClaims = { ...genoa, signedBy: "VLEK", chipId: Buffer.alloc(64) };
  const report = issueSnpReport(claims, "Genoa", key);
  const cloud = { identity: [{ name: "csp_id", values: ["CN=cloud.example"] }] } as const;
  expect(verify(report, certificates, cloud).identity).toEqual({ csp_id: "CN=cloud.example" });
  expect(refusal(() => verify(report, certificates)).code).toBe("IDENTITY");
  const odd = platform("Genoa", { cspId: "CN=cloud.ex\u0001mple" }, tcb);
  const mark = { identity: [{ name: "csp_id", values: ["CN=cloud.ex?mple"] }] } as const;
  expect(refusal(() => verify(issueSnpReport(claims, "Genoa", odd.key), odd.certificates, mark)).code).toBe(
    "MALFORMED",
  );
  expect(refusal(() => verify(report, genoaCertificates, cloud)).code).toBe("MALFORMED");
  expect(refusal(() => verify(issueSnpReport({ ...claims, signedBy: "VCEK" }, "Genoa", key), certificates)).code).toBe(
    "MALFORMED",
  );
});

describe("Turin has its own order of versions, and shorter chip ids:", () => {
  const versions = { fmc: 9, bootloader: 10, tee: 1, snp: 23, microcode: 200 };
  const chipId = Buffer.concat([Buffer.alloc(8, 7), Buffer.alloc(56)]);
  const own = { identity: [{ name: "chip_id", values: [chipId.toString("hex")] }], minTcb: versions } as const;
  const claims: SnpClaims = { ...genoa, tcb: versions, chipId, cpu: { family: 0x1a, model: 2 } };
  const turin = platform("Turin", { chipId: chipId.subarray(0, 8) }, versions);
  const issueTurin = (changes: Partial<SnpClaims> = {}, spoil?: (report: Buffer) => void): Buffer =>
    issueSnpReport({ ...claims, ...changes }, "Turin", turin.key, spoil);
  const refused = (report: Buffer, over: Partial<SnpPins> = {}, certificates = turin.certificates): string =>
    refusal(() => verify(report, certificates, { ...own, ...over })).code;

  test.each([3, 4, 5])("a report of version %i is verified", (version) => {
    expect(verify(issueTurin({ version }), turin.certificates, own)).toEqual({
      type: "sev-snp",
      measurements: { measurement: "03".repeat(48) },
      identity: { chip_id: chipId.toString("hex") },
      warnings: [],
    });
  });

  test("a report of the denser model, and one by a VLEK, are verified", () => {
    expect(verify(issueTurin({ cpu: { family: 0x1a, model: 0x11 } }), turin.certificates, own).type).toBe("sev-snp");
    const vlek = platform("Turin", { cspId: "CN=cloud.example" }, versions);
    const report = issueSnpReport({ ...claims, signedBy: "VLEK", chipId: Buffer.alloc(64) }, "Turin", vlek.key);
    const cloud = { ...own, identity: [{ name: "csp_id", values: ["CN=cloud.example"] }] } as const;
    expect(verify(report, vlek.certificates, cloud).identity).toEqual({ csp_id: "CN=cloud.example" });
  });

  test.each(tcbParts)("its %s is held against the certificate and the minimum, in every place", (part) => {
    const [older, newer] = [-1, 1].map((step) => ({ ...versions, [part]: versions[part] + step }));
    expect(refused(issueTurin({ tcb: older! }))).toBe("TCB");
    expect(refused(issueTurin({ tcb: newer! }))).toBe("TCB");
    for (const place of ["currentTcb", "committedTcb", "launchTcb"]) {
      expect(refused(issueTurin({ [place]: older })), place).toBe("TCB");
      expect(verify(issueTurin({ [place]: newer }), turin.certificates, own).type).toBe("sev-snp");
    }
    expect(refused(issueTurin(), { minTcb: newer! })).toBe("TCB");
  });

  test("versions in the order of another generation are other versions", () => {
    const inGenoasOrder = issueSnpReport(claims, "Genoa", turin.key);
    expect(["TCB", "UNSUPPORTED"]).toContain(refused(inGenoasOrder));
    for (const offset of [0x184, 0x185, 0x186]) {
      expect(refused(issueTurin({}, (report) => report.writeUInt8(1, offset)))).toBe("UNSUPPORTED");
    }
  });

  test("a certificate without its FMC, or with a longer chip id, is none of Turin's", () => {
    const extensions = snpExtensions("Turin", versions, { chipId: chipId.subarray(0, 8) });
    const certified = (own: readonly Extension[]): string => {
      const { key, der } = ask.endEntity("SEV-VCEK", { extensions: own });
      return refused(issueSnpReport(claims, "Turin", key), {}, [der, ...ask.chain]);
    };
    expect(certified(extensions.filter(({ oid }) => !oid.endsWith(".3.9")))).toBe("MALFORMED");
    const long = snpExtensions("Turin", versions, { chipId });
    expect(certified(long)).toBe("MALFORMED");
    expect(
      certified(extensions.map((one) => (one.oid.endsWith(".1.1") ? { ...one, value: derUnsigned(2) } : one))),
    ).toBe("UNSUPPORTED");
  });

  test("a chip id that is filled up with anything is another chip's, and a processor that is newer is none of them", () => {
    const filled = Buffer.concat([Buffer.alloc(8, 7), Buffer.alloc(55), Buffer.of(1)]);
    expect(refused(issueTurin({ chipId: filled }))).toBe("IDENTITY");
    expect(refused(issueTurin({ cpu: { family: 0x1a, model: 0x50 } }))).toBe("IDENTITY");
    expect(refused(issueTurin({ cpu: { family: 0x19, model: 0x11 } }))).toBe("IDENTITY");
  });

  test("no byte of it can be changed", () => {
    const report = issueTurin();
    for (let index = 0; index < report.length; index += 7) {
      expect(refused(flipped(report, index)), `byte ${index}`).toMatch(/^[A-Z_]+$/);
    }
  });
});

test("Milan, whose reports can be forged, needs a policy that says so by its name", () => {
  const { key, certificates } = platform("Milan-B0", { chipId: genoa.chipId }, tcb);
  const report = issueSnpReport({ ...genoa, cpu: { family: 0x19, model: 1 } }, "Milan", key);
  expect(refusal(() => verify(report, certificates))).toEqual({
    code: "TCB",
    message: "SEV-SNP: reports of Milan can be forged (arxiv:2605.12990), and the policy does not accept that",
  });
  expect(refusal(() => verify(report, certificates, { acceptKnownBroken: ["Milan", "*"] })).code).toBe("TCB");
  const { warnings } = verify(report, certificates, { acceptKnownBroken: ["arxiv:2605.12990"] });
  expect(warnings).toEqual(["reports of Milan can be forged (arxiv:2605.12990); the policy accepts that"]);
});

test("what the owner chose at launch can be pinned as well", () => {
  const identity = [
    { name: "host_data", values: ["04".repeat(32)] },
    { name: "id_key_digest", values: ["05".repeat(48)] },
    { name: "author_key_digest", values: ["06".repeat(48)] },
  ] as const;
  expect(Object.keys(verify(issue({ authorKeyEnabled: true }), undefined, { identity }).identity)).toHaveLength(3);
  expect(refusal(() => verify(issue(), undefined, { identity })).code).toBe("IDENTITY");
  expect(refusal(() => verify(issue({ hostData: Buffer.alloc(32, 9) }), undefined, { identity })).code).toBe(
    "IDENTITY",
  );
});

test("what the guest's policy permits has to be accepted, bit by bit", () => {
  const permitting = (policy: bigint, guestMay: SnpPins["guestMay"]): string | undefined => {
    try {
      verify(issue({ policy }), undefined, { guestMay });
      return undefined;
    } catch (error) {
      return (error as AttestationError).code;
    }
  };
  const [plain, smt, cxl] = [0x20000n, 0x30000n, 0x220000n];
  expect([permitting(plain, []), permitting(smt, ["smt"]), permitting(cxl, ["cxl"])]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect([permitting(smt, []), permitting(smt, ["cxl"])]).toEqual(["MEASUREMENT", "MEASUREMENT"]);
  expect([permitting(cxl, []), permitting(cxl | smt, ["smt"])]).toEqual(["MEASUREMENT", "MEASUREMENT"]);
  // What it demands of the platform (one socket, AES-256, no RAPL, hidden ciphertext, no swapping) is for nobody to accept.
  expect(permitting(0x3d20000n, [])).toBeUndefined();
});

test.each<[SnpPlatformTrait, bigint]>([
  ["smt_disabled", 0x3en],
  ["tsme", 0x02n],
  ["ecc", 0x04n],
  ["rapl_disabled", 0x08n],
  ["ciphertext_hiding", 0x10n],
  ["alias_check", 0x20n],
])("a platform has to be %s where that is demanded", (trait, info) => {
  const must = { platformMust: [trait] };
  expect(verify(issue({ platformInfo: info }), undefined, must).type).toBe("sev-snp");
  const others = trait === "smt_disabled" ? 0xffn : 0xffn & ~info;
  expect(refusal(() => verify(issue({ platformInfo: others }), undefined, must))).toEqual({
    code: "TCB",
    message: `SEV-SNP: the platform is not ${trait}, as it must be`,
  });
  expect(verify(issue({ platformInfo: others }), undefined, { platformMust: [] }).type).toBe("sev-snp");
});

describe("a revoked authority", () => {
  const serial = readCertificate(ask.der).serial;
  const list = (changes: Partial<CrlClaims> = {}): Buffer =>
    issueCrl({ issuer: example.ark, thisUpdate: days(-30), nextUpdate: days(30), revoked: [], ...changes });
  type Lists = Extract<SnpRevocation, { by: "lists" }>["lists"];
  const by = (...lists: Lists): Partial<SnpPins> => ({ revocation: { by: "lists", lists } });
  const refused = (over: Partial<SnpPins>, time = at): string =>
    refusal(() => verify(issue(), genoaCertificates, over, time)).code;

  test("is one that AMD's list names, and no other serial number is", () => {
    expect(verify(issue(), undefined, by({ of: "VCEK", list: list() })).type).toBe("sev-snp");
    expect(verify(issue(), undefined, by({ of: "VCEK", list: list({ revoked: ["00", "0102"] }) })).type).toBe(
      "sev-snp",
    );
    expect(refused(by({ of: "VCEK", list: list({ revoked: ["0102", serial] }) }))).toBe("REVOKED");
    expect(refused(by({ of: "VCEK", list: list() }, { of: "VCEK", list: list({ revoked: [serial] }) }))).toBe(
      "REVOKED",
    );
  });

  test("is one that is not pinned, where a person keeps the list", () => {
    const authorities = (...fingerprints: NonEmpty<string>): Partial<SnpPins> => ({
      revocation: { by: "authorities", authorities: fingerprints },
    });
    const [, own] = genoaCertificates.map((der) => readCertificate(der).fingerprint);
    expect(verify(issue(), undefined, authorities("00".repeat(32), own!)).type).toBe("sev-snp");
    expect(refused(authorities("00".repeat(32)))).toBe("ROOT");
    expect(refused(authorities(readCertificate(example.ark.der).fingerprint))).toBe("ROOT");
  });

  test("is looked for in a list that is current, and in no other", () => {
    const stale = by({ of: "VCEK", list: list({ nextUpdate: days(-1) }) });
    expect(refused(stale)).toBe("STALE");
    expect(refused(by({ of: "VCEK", list: list({ thisUpdate: days(1) }) }))).toBe("STALE");
    expect(refused(by({ of: "VCEK", list: list() }), days(31))).toBe("STALE");
  });

  test("is looked for in the list for who signed, under the root that the certificates lead to", () => {
    const own = { of: "VCEK", list: list() } as const;
    expect(refused(by({ of: "VLEK", list: list() }))).toBe("ROOT");
    const other = createTestRoot("another ARK", making);
    const foreign = { of: "VCEK", list: list({ issuer: other }) } as const;
    expect(refused(by(foreign))).toBe("ROOT");
    expect(verify(issue(), undefined, by(foreign, own)).type).toBe("sev-snp");
  });

  test("is looked for in a list that its root signed, and that can be read", () => {
    const impostor = { subject: example.ark.subject, key: createTestRoot("x", making).key };
    expect(refused(by({ of: "VCEK", list: list({ issuer: impostor }) }))).toBe("SIGNATURE");
    expect(refused(by({ of: "VCEK", list: list({ issuer: { subject: example.ark.subject, key: ask.key } }) }))).toBe(
      "SIGNATURE",
    );
    expect(refused(by({ of: "VCEK", list: Buffer.alloc(0) }))).toBe("MALFORMED");
    expect(refused(by({ of: "VCEK", list: Buffer.concat([list(), Buffer.of(0)]) }))).toBe("MALFORMED");
    const genuine = list({ revoked: [serial] });
    for (let index = 0; index < genuine.length; index++) {
      expect(refused(by({ of: "VCEK", list: flipped(genuine, index) })), `byte ${index}`).toMatch(/^[A-Z_]+$/);
    }
  });
});

describe("a report is refused", () => {
  test.each<[string, string, Partial<SnpClaims>]>([
    ["for other claims", "REPORT_DATA", { reportData: Buffer.alloc(64, 9) }],
    ["for more than the claims", "REPORT_DATA", { reportData: Buffer.concat([reportData, Buffer.alloc(32, 1)]) }],
    ["of other code", "MEASUREMENT", { measurement: Buffer.alloc(48, 9) }],
    ["of another privilege level", "MEASUREMENT", { vmpl: 1 }],
    ["of a debug guest", "DEBUG", { policy: 0xb0000n }],
    ["of a guest with a migration agent", "DEBUG", { policy: 0x70000n }],
    ["with an impossible policy", "MALFORMED", { policy: 0x10000n }],
    ["of version 1", "UNSUPPORTED", { version: 1 }],
    ["of version 6", "UNSUPPORTED", { version: 6 }],
    ["of another chip than its certificate's", "IDENTITY", { chipId: Buffer.alloc(64, 8) }],
    ["of a chip that is masked", "IDENTITY", { chipId: Buffer.alloc(64) }],
    ["of another processor than its certificate's", "IDENTITY", { cpu: { family: 0x1a, model: 2 } }],
    ["of a processor that nobody knows", "IDENTITY", { cpu: { family: 0x19, model: 0x50 } }],
    ["of older firmware than its certificate's", "TCB", { tcb: { ...tcb, snp: 22 } }],
    ["of newer firmware than its certificate's", "TCB", { tcb: { ...tcb, microcode: 201 } }],
    ["of a guest that older firmware launched", "TCB", { launchTcb: { ...tcb, snp: 22 } }],
    ["of firmware that may be put back below the minimum", "TCB", { committedTcb: { ...tcb, bootloader: 9 } }],
    ["of firmware that is older than it reports", "TCB", { currentTcb: { ...tcb, microcode: 199 } }],
    ["with a bit of the policy that nobody knows", "UNSUPPORTED", { policy: 0x4030000n }],
    ["with the policy's last bit", "UNSUPPORTED", { policy: 0x8000000000030000n }],
  ])("%s: %s", (_what, code, changes) => {
    expect(refusal(() => verify(issue(changes))).code).toBe(code);
  });

  test.each(["fmc", "bootloader", "tee", "snp", "microcode"] as const)(
    "when %s is below the policy's minimum",
    (part) => {
      expect(refusal(() => verify(issue(), undefined, { minTcb: { ...tcb, [part]: tcb[part] + 1 } })).code).toBe("TCB");
      expect(refusal(() => verify(issue(), undefined, { minTcb: { ...tcb, [part]: NaN } })).code).toBe("TCB");
    },
  );

  test("by another key, algorithm or kind of signer", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    expect(refusal(() => verify(issueSnpReport(genoa, "Genoa", privateKey))).code).toBe("SIGNATURE");
    expect(refusal(() => verify(issue({}, (report) => report.writeUInt32LE(2, 0x34)))).code).toBe("UNSUPPORTED");
    expect(refusal(() => verify(issue({}, (report) => report.writeUInt32LE(7 << 2, 0x48)))).code).toBe("UNSUPPORTED");
  });

  test.each([
    ["flags", 0x48, 0x20],
    ["flags", 0x4b, 0x80],
    ["reserved bytes after the flags", 0x4c, 1],
    ["the reported TCB", 0x182, 1],
    ["the reported TCB", 0x185, 1],
    ["the current TCB", 0x3a, 1],
    ["the committed TCB", 0x1e2, 1],
    ["the launch TCB", 0x1f2, 1],
  ])("that uses a reserved part of %s (%i)", (_what, offset, value) => {
    const odd = issue({}, (report) => report.writeUInt8(value, offset));
    expect(refusal(() => verify(odd)).code).toBe("UNSUPPORTED");
  });

  test("whose certificate is of another form, or uses a reserved version", () => {
    const certificates = (change: (extension: Extension) => Extension, more: readonly Extension[] = []): Buffer[] => {
      const own = snpExtensions("Genoa", tcb, { chipId: genoa.chipId }).map(change);
      const { key, der } = ask.endEntity("SEV-VCEK", { extensions: [...own, ...more] });
      forged = issueSnpReport(genoa, "Genoa", key);
      return [der, ...ask.chain];
    };
    let forged: Buffer = Buffer.alloc(0);
    const oid = (arcs: string): string => `1.3.6.1.4.1.3704.1.${arcs}`;
    const version2 = certificates((one) => (one.oid === oid("1") ? { ...one, value: derUnsigned(2) } : one));
    expect(refusal(() => verify(forged, version2)).code).toBe("UNSUPPORTED");
    const reserved = certificates((one) => one, [{ oid: oid("3.4"), critical: false, value: derUnsigned(1) }]);
    expect(refusal(() => verify(forged, reserved)).code).toBe("UNSUPPORTED");
    const zero = certificates((one) => one, [{ oid: oid("3.4"), critical: false, value: derUnsigned(0) }]);
    expect(verify(forged, zero).type).toBe("sev-snp");
  });

  test("whose certificate is for a product that nobody knows, or on a weaker curve", () => {
    const { key, certificates } = platform("Naples", { chipId: genoa.chipId }, tcb);
    expect(refusal(() => verify(issueSnpReport(genoa, "Genoa", key), certificates)).code).toBe("UNSUPPORTED");
    const weak = ask.endEntity("x", {
      keys: "P-256",
      extensions: snpExtensions("Genoa", tcb, { chipId: genoa.chipId }),
    });
    expect(refusal(() => verify(issue(), [weak.der, ...ask.chain])).code).toBe("UNSUPPORTED");
    const plain = ask.endEntity("x");
    expect(refusal(() => verify(issue(), [plain.der, ...ask.chain])).code).toBe("MALFORMED");
  });

  test("under another root, out of time, with a certificate missing", () => {
    const other = createTestRoot("test ARK", making).authority("test ASK");
    const { key, certificates } = platform("Genoa", { chipId: genoa.chipId }, tcb, other);
    expect(refusal(() => verify(issueSnpReport(genoa, "Genoa", key), certificates)).code).toBe("ROOT");
    expect(refusal(() => verify(issue(), undefined, { roots: [AMD_ROOTS.Genoa] })).code).toBe("ROOT");
    expect(refusal(() => verify(issue(), undefined, {}, days(101))).code).toBe("STALE");
    expect(refusal(() => verify(issue(), genoaCertificates.slice(0, 2))).code).toBe("MALFORMED");
  });
});

test("no byte of a report can be changed, and none added or taken away", () => {
  const report = issue();
  for (let index = 0; index < report.length; index += 5) {
    expect(refusal(() => verify(flipped(report, index))).code, `byte ${index}`).toBeDefined();
  }
  expect(refusal(() => verify(report.subarray(1))).code).toBe("MALFORMED");
  expect(refusal(() => verify(Buffer.concat([report, Buffer.of(0)]))).code).toBe("MALFORMED");
});

test("spoilt reports are refused cleanly", () => {
  const [report, below] = [issue(), mulberry(2)];
  for (let n = 0; n < 2000; n++) {
    const spoilt = mutate(report, below);
    if (!spoilt.equals(report)) expect(refusal(() => verify(spoilt)).code).toBeDefined();
  }
});

describe.skipIf(!samplesAreHere)("reports captured from AMD's processors", () => {
  const milan = (): Buffer[] => samplePem("snp/milan-chain.pem");
  const roots = [AMD_ROOTS.Milan, AMD_ROOTS.Genoa, AMD_ROOTS.Turin] as const;
  /** Of the authority that a chain begins with. */
  const fingerprint = (chain: string): string => readCertificate(samplePem(chain)[0]!).fingerprint;
  const captured = (name: string): { report: Buffer; certificates: readonly Buffer[]; time: Date } => {
    const time = new Date("2025-06-01T00:00:00Z");
    switch (name) {
      case "trustee, VCEK":
        return { report: sample("snp/test-report.bin"), certificates: [sample("snp/test-vcek.der"), ...milan()], time };
      case "trustee, VLEK": {
        const certificates = [sample("snp/test-vlek.der"), ...samplePem("snp/milan-vlek-chain.pem")];
        return { report: sample("snp/test-vlek-report.bin"), certificates, time };
      }
      case "virtee":
        return {
          report: sample("snp/virtee-report_milan.hex"),
          certificates: [sample("snp/virtee-vcek_milan.der"), ...samplePem("snp/virtee-cert_chain_milan")],
          time,
        };
      default: {
        // The dstack project wraps it: two bytes, a compact length of two, the report, more.
        const report = sample("dstack/dstack-attest_tests_sev_snp_attestation.bin").subarray(4, 4 + 1184);
        const vcek = samplePem("dstack/dstack-attest_tests_sev_snp_vcek.pem");
        const time = readCertificate(vcek[0]!).notBefore;
        return { report, certificates: [...vcek, ...milan()], time };
      }
    }
  };
  const ownPins = (report: Buffer, product: SnpProduct = "Milan"): SnpPins => {
    const { measurement, vmpl, signedBy, chipId } = readSnpReport(report);
    return {
      roots,
      measurements: [measurement.toString("hex")],
      identity:
        signedBy === "VCEK"
          ? [{ name: "chip_id", values: [chipId.toString("hex")] }]
          : [{ name: "csp_id", values: ["CN=cc-us-east-2.amazonaws.com"] }],
      minTcb: { fmc: 0, bootloader: 3, tee: 0, snp: 8, microcode: 115 },
      vmpl,
      guestMay: ["smt"],
      platformMust: [],
      revocation: {
        by: "authorities",
        authorities: [fingerprint("snp/milan-chain.pem"), fingerprint("snp/milan-vlek-chain.pem")],
      },
      acceptKnownBroken: [knownBroken[product]!],
    };
  };

  test.each(["trustee, VCEK", "trustee, VLEK", "virtee", "dstack"])("%s: verified at its time", (name) => {
    const { report, certificates, time } = captured(name);
    const own = ownPins(report);
    const authentic = authenticateSnp(report, certificates, { roots, at: time });
    expect(appraiseSnp(authentic, own).warnings).toHaveLength(1);

    expect(refusal(() => appraiseSnp(authentic, { ...own, acceptKnownBroken: [] })).code).toBe("TCB");
    expect(refusal(() => appraiseSnp(authentic, { ...own, minTcb: { ...own.minTcb, snp: 99 } })).code).toBe("TCB");
    expect(refusal(() => appraiseSnp(authentic, { ...own, measurements: pins.measurements })).code).toBe("MEASUREMENT");
    expect(refusal(() => appraiseSnp(authentic, { ...own, identity: pins.identity })).code).toBe("IDENTITY");
    expect(refusal(() => appraiseSnp(authentic, { ...own, guestMay: [] })).code).toBe("MEASUREMENT");
    const genoa = { by: "authorities", authorities: [fingerprint("snp/genoa-chain.pem")] } as const;
    expect(refusal(() => appraiseSnp(authentic, { ...own, revocation: genoa })).code).toBe("ROOT");
    const refused = (o: { roots?: SnpPins["roots"]; at?: Date }): string =>
      refusal(() => authenticateSnp(report, certificates, { roots, at: time, ...o })).code;
    expect(refused({ roots: [AMD_ROOTS.Genoa] })).toBe("ROOT");
    expect(refused({ at: new Date("2050-01-01") })).toBe("STALE");
    expect(refused({ at: new Date("2019-01-01") })).toBe("STALE");
    expect(refusal(() => verify(report, certificates, own, time)).code).toBe("REPORT_DATA");
    for (let index = 0; index < report.length; index += 13) {
      const spoilt = flipped(report, index);
      expect(refusal(() => authenticateSnp(spoilt, certificates, { roots, at: time })).code).toBeDefined();
    }
  });

  test.each([
    ["trustee, VCEK", []],
    ["trustee, VLEK", ["alias_check", "ecc", "tsme"]],
    ["dstack", ["alias_check", "ecc"]],
  ])("%s: its platform is %j", (name, traits) => {
    expect(traitsOf(readSnpReport(captured(name).report).platformInfo)).toEqual(traits);
  });

  test("go-sev-guest: a debug guest is refused", () => {
    const report = sample("snp/gosev-attestation.bin");
    const certificates = [sample("snp/gosev-vcek.der"), ...milan()];
    const authentic = authenticateSnp(report, certificates, { roots, at: new Date("2024-01-01") });
    expect(refusal(() => appraiseSnp(authentic, ownPins(report))).code).toBe("DEBUG");
  });

  test("a certificate that AMD did not sign, or signed for another chip, is refused", () => {
    const { report, time } = captured("trustee, VCEK");
    const code = (name: string): string =>
      refusal(() => authenticateSnp(report, [sample(name), ...milan()], { roots, at: time })).code;
    expect(code("snp/test-vcek-invalid-legacy.der")).toBe("SIGNATURE");
    expect(code("snp/test-vcek-invalid-new.der")).toBe("SIGNATURE");
    expect(code("snp/gosev-vcek.der")).toBe("TCB");
    expect(code("snp/virtee-vcek_milan.der")).toBe("IDENTITY");
  });

  test("a Turin's certificate is read as one, under AMD's root", () => {
    const chain = [sample("snp/virtee-vcek_turin.der"), ...samplePem("snp/virtee-cert_chain_turin")];
    const what = "Turin's certificates";
    const at = new Date("2025-06-01T00:00:00Z");
    const certificate = verifyChain(readCertificates(chain, what), { roots: [AMD_ROOTS.Turin], at, what });
    expect(productOf(certificate)).toBe("Turin");
    expect(hardwareIdOf(certificate, "Turin").toString("hex")).toBe("1e550a8ee5cf9f4d");
    expect(certifiedTcb(certificate, "Turin")).toEqual({ fmc: 0, bootloader: 0, tee: 0, snp: 0, microcode: 9 });
  });

  test("AMD's chains lead to the roots that we name", () => {
    for (const name of ["snp/milan-chain.pem", "snp/genoa-chain.pem", "snp/virtee-cert_chain_turin"]) {
      const [, root] = samplePem(name);
      expect(roots).toContain(readCertificate(root!).fingerprint);
    }
  });
});
