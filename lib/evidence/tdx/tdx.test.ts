import { generateKeyPairSync } from "node:crypto";

import { beforeAll, describe, expect, test } from "vitest";

import { systemRandom } from "../../random.ts";
import { toPem } from "../certificate.ts";
import { derNull } from "../der-writer.ts";
import { mediaTypes, type Verified } from "../evidence.ts";
import { issueCrl } from "../testing/crl.ts";
import { flipped, mulberry, mutate } from "../testing/mutation.ts";
import { refusal } from "../testing/refusal.ts";
import { sample, samplesAreHere } from "../testing/samples.ts";
import { createTdxPlatform, issueCollateral, type QuoteClaims, type QuoteForgery } from "../testing/tdx.ts";
import { createTdxExample } from "../testing/tdx-example.ts";
import { readCertificate } from "../x509.ts";
import { readQuote } from "./quote.ts";
import { mergeTcbStatus, type TcbStatus } from "./tcb-status.ts";
import { appraiseTdx, authenticateTdx, INTEL_ROOT, type TdxPins, tdxVerifier } from "./verify.ts";

const at = new Date("2026-03-01T12:00:00Z");
const days = (n: number): Date => new Date(at.getTime() + n * 864e5);
const making = { random: systemRandom, validity: { notBefore: days(-100), notAfter: days(100) } };
const fill = (length: number, value: number): Buffer => Buffer.alloc(length, value);
const reportData = fill(32, 2);
const { platform, processor, claims, published, pins, quote: issue, collateral } = createTdxExample(at, reportData);

const compact = (json: Buffer): Buffer => Buffer.from(JSON.stringify(JSON.parse(json.toString())));
const document = (fields: Record<string, string>): Buffer => Buffer.from(JSON.stringify(fields));
const verify = (quote: Buffer, o: { collateral?: Buffer; pins?: Partial<TdxPins>; at?: Date } = {}): Verified =>
  tdxVerifier.verify(
    { mediaType: mediaTypes.tdx, evidence: quote, endorsements: [o.collateral ?? collateral()] },
    { nonce: fill(32, 0), reportData, at: o.at ?? at },
    { ...pins, ...o.pins },
  );
const refused = (...given: Parameters<typeof verify>): string => refusal(() => verify(...given)).code;

test.each(["4", "5/1.0", "5/1.5"] as const)("a quote of version %s is verified", (form) => {
  expect(verify(issue({ form }))).toEqual({
    type: "tdx",
    measurements: { mrtd: "03".repeat(48), rtmr1: "11".repeat(48), rtmr2: "12".repeat(48) },
    identity: { ppid: "01".repeat(16) },
    warnings: [],
  });
});

test("a guest may have what only it uses: protection keys, key locker, linear address separation, counters", () => {
  expect(verify(issue({ attributes: 0x80000000d8000000n })).type).toBe("tdx");
});

test("what the owner chose at launch can be pinned as well", () => {
  const identity = [{ name: "mrconfigid", values: ["07".repeat(48)] }] as const;
  expect(verify(issue({ mrConfigId: fill(48, 7) }), { pins: { identity } }).identity).toEqual({
    mrconfigid: "07".repeat(48),
  });
  expect(refused(issue(), { pins: { identity } })).toBe("IDENTITY");
});

describe("a quote is refused", () => {
  test.each<[string, string, Partial<QuoteClaims>]>([
    ["for other claims", "REPORT_DATA", { reportData: fill(64, 9) }],
    ["for more than the claims", "REPORT_DATA", { reportData: Buffer.concat([reportData, fill(32, 1)]) }],
    ["of other firmware of the guest", "MEASUREMENT", { mrtd: fill(48, 9) }],
    ["of another kernel", "MEASUREMENT", { rtmrs: [claims.rtmrs[0], fill(48, 9), claims.rtmrs[2], claims.rtmrs[3]] }],
    ["of a debug guest", "DEBUG", { attributes: 0x10000001n }],
    ["of a guest that may be profiled", "DEBUG", { attributes: 0x10000020n }],
    ["of a guest that may be migrated", "DEBUG", { attributes: 0x30000000n }],
    ["of a guest whose page tables the host may play with", "DEBUG", { attributes: 0n }],
    ["with an attribute that nobody knows", "UNSUPPORTED", { attributes: 0x10010000n }],
    ["of a guest that provisions devices", "UNSUPPORTED", { attributes: 0x4000000010000000n }],
    ["of a guest that services are bound to", "DEBUG", { form: "5/1.5", mrServiceTd: fill(48, 1) }],
    ["by a debug quoting enclave", "DEBUG", { qe: { ...claims.qe, attributes: fill(16, 0x13) } }],
    ["by somebody's own quoting enclave", "IDENTITY", { qe: { ...claims.qe, mrSigner: fill(32, 9) } }],
    ["by another enclave of Intel's", "IDENTITY", { qe: { ...claims.qe, isvProdId: 1 } }],
    ["by an enclave with other attributes", "IDENTITY", { qe: { ...claims.qe, attributes: fill(16, 0) } }],
    ["by a quoting enclave below every level", "TCB", { qe: { ...claims.qe, isvSvn: 3 } }],
    ["with a TDX module below every level", "TCB", { teeTcbSvn: Buffer.concat([Buffer.of(1, 1, 5), fill(13, 0)]) }],
    ["with a TDX module that nobody knows", "TCB", { teeTcbSvn: Buffer.concat([Buffer.of(9, 9, 5), fill(13, 0)]) }],
  ])("%s: %s", (_what, code, changes) => {
    expect(refused(issue(changes))).toBe(code);
  });

  const lowered = (...changes: [offset: number, value: number][]): QuoteForgery => ({
    body: (signed) => changes.forEach(([offset, value]) => signed.writeUInt8(value, offset)),
  });
  test.each<[string, string, QuoteForgery]>([
    ["of version 3", "UNSUPPORTED", lowered([0, 3])],
    ["of version 6", "UNSUPPORTED", lowered([0, 6])],
    ["with another kind of key", "UNSUPPORTED", lowered([2, 3])],
    ["of SGX", "UNSUPPORTED", lowered([4, 0])],
    ["by another vendor's enclave", "UNSUPPORTED", lowered([12, 0])],
    ["with a TDX module that Intel did not sign", "IDENTITY", lowered([48 + 64, 1])],
    ["with a TDX module that runs in debug mode", "IDENTITY", lowered([48 + 112, 1])],
    ["for another attestation key", "SIGNATURE", { qeReport: (report) => report.writeUInt8(9, 320) }],
    ["with more than the key's digest", "SIGNATURE", { qeReport: (report) => report.writeUInt8(9, 383) }],
    ["with PEM in another form", "MALFORMED", { pem: (pem) => pem + "\n" }],
    ["with a certificate left out", "ROOT", { pem: (pem) => pem.slice(0, pem.lastIndexOf("-----BEGIN")) }],
  ])("%s: %s", (_what, code, forgery) => {
    expect(refused(issue({}, forgery))).toBe(code);
  });

  test("whose body of version 5 is of another type or length", () => {
    expect(refused(issue({ form: "5/1.0" }, lowered([48, 1])))).toBe("UNSUPPORTED");
    expect(refused(issue({ form: "5/1.0" }, lowered([48, 3])))).toBe("MALFORMED");
  });

  test("signed by another processor, or with an attestation key that is no point", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const forged = { ...platform, processor: { ...platform.processor, key: privateKey } };
    expect(refused(issue({}, {}, forged))).toBe("SIGNATURE");
    const plain = { ...platform, processor: platform.authority.endEntity("no processor", { keys: "P-256" }) };
    expect(refused(issue({}, {}, plain))).toBe("MALFORMED");
  });

  test("under another root", () => {
    const other = createTdxPlatform(processor, making);
    expect(refused(issue({}, {}, other))).toBe("ROOT");
    expect(refused(issue({}, {}, other), { collateral: collateral({}, other) })).toBe("ROOT");
    expect(refused(issue(), { collateral: collateral({}, other) })).toBe("ROOT");
    expect(refused(issue(), { pins: { roots: [INTEL_ROOT] } })).toBe("ROOT");
  });

  test("without collateral, or with much too much", () => {
    expect(refused(issue(), { collateral: Buffer.alloc(0) })).toBe("MALFORMED");
    expect(refused(issue(), { collateral: Buffer.alloc(2 ** 18 + 1) })).toBe("MALFORMED");
    expect(refused(Buffer.alloc(20_000))).toBe("MALFORMED");
  });
});

describe("collateral", () => {
  test("has to be current, every part of it", () => {
    expect(refused(issue(), { at: days(26) })).toBe("STALE");
    expect(refused(issue(), { at: days(-6) })).toBe("STALE");
    const [fresh, old] = [
      issueCollateral(platform, published),
      issueCollateral(platform, { ...published, notAfter: days(-1) }),
    ];
    const parts = [
      ["root_ca_crl"],
      ["pck_crl"],
      ["tcb_info", "tcb_info_signature"],
      ["qe_identity", "qe_identity_signature"],
    ];
    for (const names of parts) {
      const mixed = { ...fresh, ...Object.fromEntries(names.map((name) => [name, old[name]!])) };
      expect(refused(issue(), { collateral: document(mixed) }), names[0]).toBe("STALE");
    }
  });

  test("has to be for this platform, of this kind, and not older than the policy wants", () => {
    expect(refused(issue(), { collateral: collateral({ fmspc: fill(6, 1) }) })).toBe("TCB");
    expect(refused(issue(), { collateral: collateral({ pceId: fill(2, 1) }) })).toBe("TCB");
    expect(refused(issue(), { collateral: collateral({ evaluation: 16 }) })).toBe("TCB");
    expect(refused(issue(), { pins: { minTcbEvaluation: NaN } })).toBe("TCB");
    const spoilt = (change: Record<string, unknown>): string =>
      refused(issue(), { collateral: collateral({ spoil: (fields) => Object.assign(fields, change) }) });
    expect(spoilt({ id: "SGX" })).toBe("UNSUPPORTED");
    expect(spoilt({ version: 4 })).toBe("UNSUPPORTED");
    expect(spoilt({ version: "3" })).toBe("MALFORMED");
    expect(spoilt({ tcbType: 1 })).toBe("UNSUPPORTED");
    expect(spoilt({ issueDate: "yesterday" })).toBe("MALFORMED");
    expect(spoilt({ tcbLevels: [] })).toBe("TCB");
    expect(spoilt({ tcbLevels: {} })).toBe("MALFORMED");
    expect(spoilt({ tcbLevels: [{ tcb: { isvsvn: 0 }, tcbStatus: "Fine" }] })).toBe("MALFORMED");
  });

  test("is signed by Intel's signer of collateral, and by nobody else that Intel certified", () => {
    const fields = issueCollateral(platform, published);
    const forged = {
      ...platform,
      collateralSigner: platform.root.endEntity("Intel SGX TCB Signing", { keys: "P-256" }),
    };
    const other = issueCollateral(forged, published);
    expect(
      refused(issue(), { collateral: document({ ...fields, tcb_info_signature: other["tcb_info_signature"]! }) }),
    ).toBe("SIGNATURE");
    // A processor whose key is known must not vouch for itself, whatever it calls itself.
    const byProcessor = issueCollateral({ ...platform, collateralSigner: platform.processor }, published);
    const chain = [platform.processor.der, ...platform.authority.chain].map(toPem).join("");
    const ownChain = { tcb_info_issuer_chain: chain, qe_identity_issuer_chain: chain };
    expect(refused(issue(), { collateral: document({ ...byProcessor, ...ownChain }) })).toBe("ROOT");
    const named = { ...platform, collateralSigner: platform.root.endEntity("somebody else", { keys: "P-256" }) };
    expect(refused(issue(), { collateral: collateral({}, named) })).toBe("ROOT");
  });

  test("names no certificate in use as revoked", () => {
    const serialOf = (der: Buffer): string => readCertificate(der).serial;
    const revokedProcessors = [serialOf(platform.processor.der)];
    expect(refused(issue(), { collateral: collateral({ revokedProcessors }) })).toBe("REVOKED");
    for (const der of [platform.authority.der, platform.collateralSigner.der]) {
      expect(refused(issue(), { collateral: collateral({ revokedAuthorities: [serialOf(der)] }) })).toBe("REVOKED");
    }
  });

  test("has revocation lists that are whole, and their issuer's", () => {
    const fields = issueCollateral(platform, published);
    const { notBefore: thisUpdate, notAfter: nextUpdate } = published;
    const withList = (list: Partial<Parameters<typeof issueCrl>[0]>): string => {
      const crl = issueCrl({ issuer: platform.authority, thisUpdate, nextUpdate, revoked: [], ...list });
      return refused(issue(), { collateral: document({ ...fields, pck_crl: crl.toString("hex") }) });
    };
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    expect(withList({ issuer: { subject: platform.authority.subject, key: privateKey } })).toBe("SIGNATURE");
    expect(withList({ issuer: { subject: "somebody else", key: platform.authority.key } })).toBe("ROOT");
    expect(withList({ issuer: platform.root })).toBe("ROOT");
    const partial = { oid: "2.5.29.28", critical: true, value: derNull() };
    expect(withList({ extensions: [partial] })).toBe("UNSUPPORTED");
    expect(refused(issue(), { collateral: document({ ...fields, pck_crl: fields["pck_crl"]!.toUpperCase() }) })).toBe(
      "MALFORMED",
    );
  });

  test("that is made to be read for ever is refused at once", () => {
    const fields = issueCollateral(platform, published);
    const deep = (open: string, close: string, depth: number): Buffer =>
      Buffer.from(open.repeat(depth) + "1" + close.repeat(depth));
    const endless = "-----END CERTIFICATE-----\n-----BEGIN".repeat(5000);
    const hostile = [
      deep("[", "]", 130_000),
      deep('{"tcb_info":', "}", 20_000),
      document({ ...fields, pck_crl_issuer_chain: endless }),
      document({ ...fields, pck_crl_issuer_chain: "-----BEGIN CERTIFICATE-----\n" + "A".repeat(200_000) }),
    ];
    for (const collateral of hostile) expect(refused(issue(), { collateral })).toBe("MALFORMED");
  });

  test("has all of its fields and no other", () => {
    const fields = issueCollateral(platform, published);
    for (const name of Object.keys(fields)) {
      const others = Object.entries(fields).filter(([other]) => other !== name);
      expect(refused(issue(), { collateral: document(Object.fromEntries(others)) }), name).toBe("MALFORMED");
    }
    expect(refused(issue(), { collateral: document({ ...fields, comment: "x" }) })).toBe("MALFORMED");
    const twice = document(fields).toString().replace("{", `{"tcb_info":"",`);
    expect(refused(issue(), { collateral: Buffer.from(twice) })).toBe("MALFORMED");
    expect(refused(issue(), { collateral: Buffer.from(JSON.stringify(fields, undefined, 1)) })).toBe("MALFORMED");
  });
});

describe("the TCB", () => {
  const outOfDate = issue({ teeTcbSvn: Buffer.concat([Buffer.of(4, 1, 4), fill(13, 0)]) });

  test("is that of the first level whose every version is reached", () => {
    const accepting: Partial<TdxPins> = { tcbStatuses: ["UpToDate", "OutOfDate"] };
    expect(refusal(() => verify(outOfDate))).toEqual({
      code: "TCB",
      message: "TDX: the TCB is OutOfDate (INTEL-SA-00001, INTEL-SA-00002), expected UpToDate",
    });
    expect(
      refusal(() => verify(outOfDate, { pins: { ...accepting, advisoriesAllowed: ["INTEL-SA-00001"] } })).message,
    ).toBe("TDX: INTEL-SA-00002 applies to the platform, and the policy does not accept that");
    const both = ["INTEL-SA-00001", "INTEL-SA-00002"];
    expect(verify(outOfDate, { pins: { ...accepting, advisoriesAllowed: both } }).warnings).toHaveLength(3);
  });

  test("counts the first two components only before the module has levels of its own", () => {
    const early = Buffer.concat([Buffer.of(9, 0, 5), fill(13, 0)]);
    expect(refused(issue({ teeTcbSvn: early }))).toBe("TCB");
    const levels = [{ ...published.levels[0]!, tdxComponents: [9, 0, 5, ...fill(13, 0)] }];
    expect(verify(issue({ teeTcbSvn: early }), { collateral: collateral({ levels }) }).warnings).toEqual([]);
  });

  test("has the flaws of the module and of the quoting enclave too", () => {
    const oldModule = issue({ teeTcbSvn: Buffer.concat([Buffer.of(2, 1, 5), fill(13, 0)]) });
    expect(refusal(() => verify(oldModule)).message).toContain("OutOfDate (INTEL-SA-00003)");
    const qe = { ...published.qe, levels: [{ isvSvn: 1, status: "ConfigurationNeeded", advisories: [] } as const] };
    expect(refusal(() => verify(oldModule, { collateral: collateral({ qe }) })).message).toContain(
      "OutOfDateConfigurationNeeded (INTEL-SA-00003)",
    );
  });

  test("that was revoked is refused, whatever the policy says", () => {
    const levels = [{ ...published.levels[0]!, status: "Revoked" as const }];
    const everything = { tcbStatuses: ["UpToDate", "OutOfDate", "Revoked"] } as unknown as Partial<TdxPins>;
    expect(refused(issue(), { collateral: collateral({ levels }), pins: everything })).toBe("REVOKED");
  });

  test.each<[TcbStatus, TcbStatus, TcbStatus]>([
    ["UpToDate", "UpToDate", "UpToDate"],
    ["UpToDate", "SWHardeningNeeded", "SWHardeningNeeded"],
    ["ConfigurationNeeded", "SWHardeningNeeded", "ConfigurationAndSWHardeningNeeded"],
    ["ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"],
    ["SWHardeningNeeded", "OutOfDate", "OutOfDate"],
    ["ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"],
    ["Revoked", "OutOfDateConfigurationNeeded", "Revoked"],
  ])("%s and %s make %s", (one, other, whole) => {
    expect(mergeTcbStatus([one, other])).toBe(whole);
    expect(mergeTcbStatus([other, one])).toBe(whole);
  });
});

test("no byte of a quote can be changed, not even of its framing and padding", () => {
  const [quote, current] = [issue(), collateral()];
  for (let index = 0; index < quote.length; index += 11) {
    expect(refused(flipped(quote, index), { collateral: current }), `byte ${index}`).toBeDefined();
  }
});

test("spoilt quotes and collateral are refused cleanly", () => {
  const [quote, current, below] = [issue(), collateral(), mulberry(3)];
  for (let n = 0; n < 400; n++) {
    const spoilt = mutate(quote, below);
    const harmless =
      spoilt.length > quote.length - 100 &&
      spoilt.equals(Buffer.concat([quote, fill(100, 0)]).subarray(0, spoilt.length));
    if (!harmless) expect(refused(spoilt, { collateral: current })).toBeDefined();
    const odd = mutate(current, below);
    if (!odd.equals(current)) expect(refused(quote, { collateral: odd })).toBeDefined();
  }
});

describe.skipIf(!samplesAreHere)("quotes captured from Intel's processors", () => {
  const [name, collateralName] = ["tdx/phala-tdx_quote", "tdx/phala-tdx_quote_collateral.json"];
  const time = new Date("2025-06-20T00:00:00Z");
  let quote: Buffer;
  let current: Buffer;
  let own: TdxPins;
  beforeAll(() => {
    quote = sample(name);
    current = compact(sample(collateralName));
    const { td, pck } = authenticateTdx(quote, current, { roots: [INTEL_ROOT], at: time });
    own = {
      ...pins,
      roots: [INTEL_ROOT],
      mrtd: [td.mrtd.toString("hex")],
      rtmrs: [{ name: "rtmr1", values: [td.rtmrs[1].toString("hex")] }],
      identity: [{ name: "ppid", values: [pck.ppid.toString("hex")] }],
    };
  });

  test("one with its collateral is verified at its time", () => {
    const authentic = authenticateTdx(quote, current, { roots: own.roots, at: time });
    expect(authentic.verdict).toEqual({ status: "UpToDate", advisories: [] });
    expect(appraiseTdx(authentic, own).warnings).toEqual([]);

    expect(refusal(() => appraiseTdx(authentic, { ...own, mrtd: pins.mrtd })).code).toBe("MEASUREMENT");
    expect(refusal(() => appraiseTdx(authentic, { ...own, rtmrs: pins.rtmrs })).code).toBe("MEASUREMENT");
    expect(refusal(() => appraiseTdx(authentic, { ...own, identity: pins.identity })).code).toBe("IDENTITY");
    expect(refusal(() => appraiseTdx(authentic, { ...own, minTcbEvaluation: 18 })).code).toBe("TCB");
    expect(refused(quote, { collateral: current, pins: own, at: time })).toBe("REPORT_DATA");
    expect(refused(quote, { collateral: current, pins: pins, at: time })).toBe("ROOT");
    expect(refused(quote, { collateral: current, pins: own, at: new Date("2025-08-01") })).toBe("STALE");
    expect(refused(quote, { collateral: current, pins: own, at: new Date("2025-01-01") })).toBe("STALE");
    for (let index = 0; index < quote.length; index += 97) {
      const spoilt = flipped(quote, index);
      expect(
        refusal(() => authenticateTdx(spoilt, current, { roots: own.roots, at: time })).code,
        `byte ${index}`,
      ).toBeDefined();
    }
  });

  test("one of a platform older than every level is refused", () => {
    const old = sample("tdx/phala-tdx_quote_outdated");
    const its = compact(sample("tdx/phala-tdx_quote_outdated_collateral.json"));
    const roots = [INTEL_ROOT] as const;
    expect(refusal(() => authenticateTdx(old, its, { roots, at: new Date("2026-03-01T00:00:00Z") }))).toEqual({
      code: "TCB",
      message: "TDX: the platform is older than every TCB level that Intel lists",
    });
  });

  test("one of SGX is refused, and one that somebody wrote something after", () => {
    expect(refusal(() => readQuote(sample("tdx/phala-sgx_quote"))).code).toBe("UNSUPPORTED");
    expect(refusal(() => readQuote(sample("tdx/gotdx-prod.dat"))).message).toBe(
      "the TDX quote has bytes after its signature",
    );
  });

  test("many others can be read, under Intel's root, and one of them is a debug guest's", () => {
    const names = ["gotdx-cos113-quote.dat", "gotdx-quote_v5.dat", "phala-quote-from-tappd.hex"];
    const more = ["azure-td-quote.bin", "phala-tdx-quote.hex", "tdx_quote_4.dat", "tdx_quote_5.dat", "tdx_quote_6.dat"];
    for (const file of [...names, ...more]) {
      const read = readQuote(sample(`tdx/${file}`));
      expect(read.certificates.at(-1)!.fingerprint, file).toBe(INTEL_ROOT);
      expect(read.td.attributes & 0xffn, file).toBe(file === "tdx_quote_4.dat" ? 1n : 0n);
    }
  });
});
