import { createHash, generateKeyPairSync } from "node:crypto";

import { describe, expect, test } from "vitest";

import { type Evidence, mediaTypes, type Verified } from "../evidence.ts";
import { fullReportData } from "../pins.ts";
import { AMD_ROOTS, authenticateSnp } from "../sev-snp/verify.ts";
import { readQuote } from "../tdx/quote.ts";
import { createAzureExample } from "../testing/azure-cvm.ts";
import { flipped, mulberry, mutate } from "../testing/mutation.ts";
import { refusal } from "../testing/refusal.ts";
import { sample, samplePem, samplesAreHere } from "../testing/samples.ts";
import { readCertificate } from "../x509.ts";
import { type AzureEvidence, formatAzureEvidence, parseAzureEvidence } from "./azure-evidence.ts";
import { readHclReport } from "./hcl.ts";
import { appraiseAzure, type AzurePins, azureVerifier } from "./verify.ts";

const at = new Date("2026-03-01T12:00:00Z");
const reportData = Buffer.alloc(32, 2);
const examples = {
  "sev-snp": createAzureExample(at, reportData, "sev-snp"),
  tdx: createAzureExample(at, reportData, "tdx"),
};
const snp = examples["sev-snp"];

const verify = (evidence: Evidence, pins: AzurePins = snp.pins, time = at): Verified =>
  azureVerifier.verify(evidence, { nonce: Buffer.alloc(32), reportData, at: time }, pins);
const refused = (...given: Parameters<typeof verify>): string => refusal(() => verify(...given)).code;

test.each(["sev-snp", "tdx"] as const)("a VM on %s is verified down to its silicon", (hardware) => {
  const { evidence, pins } = examples[hardware];
  expect(verify(evidence(), pins)).toEqual({
    type: "azure-cvm",
    measurements: { [hardware === "tdx" ? "mrtd" : "measurement"]: "03".repeat(48), pcr11: "0c".repeat(32) },
    identity: { ak_key: pins.identity[0].values[0], vm_id: "00000000-0000-4000-8000-00000000000A" },
    warnings: [],
  });
});

test("a VM's id is compared as a whole, and has to be text that can be shown", () => {
  const named = (vmUniqueId: string): string => {
    const { claims } = snp;
    const other = { ...claims, "vm-configuration": { vmUniqueId } };
    const { evidence, pins } = createAzureExample(at, reportData, "sev-snp", { claims: other });
    return refused(evidence(), { ...pins, identity: [{ name: "vm_id", values: ["x".repeat(64), "?"] }] });
  };
  expect(named("x".repeat(65))).toBe("IDENTITY");
  expect(named("\u00e4")).toBe("MALFORMED");
  expect(named("x".repeat(200))).toBe("MALFORMED");
});

test("a VM may be pinned by its id", () => {
  const pinned = (id: string): AzurePins => ({ ...snp.pins, identity: [{ name: "vm_id", values: [id] }] });
  expect(verify(snp.evidence(), pinned("00000000-0000-4000-8000-00000000000A")).type).toBe("azure-cvm");
  expect(refused(snp.evidence(), pinned("00000000-0000-4000-8000-00000000000B"))).toBe("IDENTITY");
});

describe("evidence is refused", () => {
  test("for other claims of the worker", () => {
    expect(refused(snp.evidence({ quoted: { extraData: Buffer.alloc(32, 9) } }))).toBe("REPORT_DATA");
    expect(refused(snp.evidence({ quoted: { extraData: Buffer.concat([reportData, Buffer.alloc(32)]) } }))).toBe(
      "REPORT_DATA",
    );
  });

  test("for other code, of the VM or of the paravisor", () => {
    const other = new Map([[11, Buffer.alloc(32, 9)]]);
    expect(refused(snp.evidence({ quoted: { pcrs: other } }))).toBe("MEASUREMENT");
    const silicon = { ...snp.pins.silicon, pins: { ...snp.pins.silicon.pins, measurements: ["09".repeat(48)] } };
    expect(refused(snp.evidence(), { ...snp.pins, silicon } as AzurePins)).toBe("MEASUREMENT");
  });

  test("that the guest asked for by itself, below its paravisor, whatever is pinned", () => {
    const { evidence, pins } = createAzureExample(at, reportData, "sev-snp", { vmpl: 2 });
    expect(pins.silicon.pins).toMatchObject({ vmpl: 2 });
    expect(refused(evidence(), pins)).toBe("MEASUREMENT");
  });

  test("of another VM", () => {
    const ak = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    const other = createAzureExample(at, reportData, "sev-snp", { ak });
    expect(refused(snp.evidence(), { ...snp.pins, identity: other.pins.identity })).toBe("IDENTITY");
    expect(refused(other.evidence())).toBe("ROOT");
  });

  test("with a quote by a key that the paravisor does not name", () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    expect(refused(snp.evidence({ key: privateKey }))).toBe("SIGNATURE");
  });

  test("with claims that the silicon does not vouch for", () => {
    expect(refused(snp.evidence({ claims: { ...snp.claims, "user-data": "01" } }))).toBe("REPORT_DATA");
    const { evidence, pins, claims } = examples.tdx;
    expect(refused(evidence({ claims: { ...claims, "user-data": "01" } }), pins)).toBe("REPORT_DATA");
  });

  test("on other hardware than is pinned, whatever is sent along", () => {
    const { evidence, endorsements, pins } = examples.tdx;
    expect(refused(evidence())).toBe("MALFORMED");
    expect(refused({ ...snp.evidence(), endorsements }, pins)).toBe("NOT_ACCEPTED");
  });

  test("on a platform that its own policy refuses", () => {
    const { evidence, pins } = examples.tdx;
    const silicon = { type: "tdx", pins: { ...pins.silicon.pins, minTcbEvaluation: 18 } };
    expect(refused(evidence(), { ...pins, silicon } as AzurePins)).toBe("TCB");
    expect(refused(evidence(), pins, new Date("2027-01-01"))).toBe("STALE");
  });

  test.each<[string, string, object]>([
    ["that name no key", "MALFORMED", { keys: [], "vm-configuration": { vmUniqueId: "x" } }],
    ["that name a key of another kind", "UNSUPPORTED", { keys: [{ kid: "HCLAkPub", kty: "EC" }] }],
    ["that name half a key", "MALFORMED", { keys: [{ kid: "HCLAkPub", kty: "RSA", n: "AQAB" }] }],
    ["whose key is none", "MALFORMED", { keys: [{ kid: "HCLAkPub", kty: "RSA", n: "", e: "" }] }],
    ["that name two keys", "MALFORMED", { keys: [{ kid: "HCLAkPub" }, { kid: "HCLAkPub" }] }],
    ["that name no machine", "MALFORMED", { ...snp.claims, "vm-configuration": {} }],
  ])("with claims %s: %s", (_what, code, claims) => {
    const example = createAzureExample(at, reportData, "sev-snp", { claims });
    expect(refused(example.evidence(), example.pins)).toBe(code);
  });

  test("in another form than the one canonical one", () => {
    const good = snp.evidence();
    const changed = (change: (json: Record<string, unknown>) => object): string => {
      const json = JSON.parse(Buffer.from(good.evidence).toString()) as Record<string, unknown>;
      return refused({ ...good, evidence: Buffer.from(JSON.stringify(change(json))) });
    };
    expect(changed((json) => ({ ...json, comment: 1 }))).toBe("MALFORMED");
    expect(changed(({ version, ...json }) => ({ ...json, version }))).toBe("MALFORMED");
    expect(changed((json) => ({ ...json, version: 2 }))).toBe("UNSUPPORTED");
    expect(changed((json) => ({ ...json, hardware: "sgx" }))).toBe("UNSUPPORTED");
    expect(changed((json) => ({ ...json, signature: "AAAA" }))).toBe("MALFORMED");
    expect(changed((json) => ({ ...json, pcrs: { ...(json["pcrs"] as object), "1e1": "00".repeat(32) } }))).toBe(
      "MALFORMED",
    );
    expect(refused({ ...good, mediaType: mediaTypes.tpm2 })).toBe("NOT_ACCEPTED");
    expect(refused({ ...good, evidence: Buffer.from(" " + Buffer.from(good.evidence).toString()) })).toBe("MALFORMED");
  });

  test.each(["sev-snp", "tdx"] as const)("with any byte changed, on %s", (hardware) => {
    const { evidence, pins } = examples[hardware];
    const good = evidence();
    const bytes = Buffer.from(good.evidence);
    for (let index = 0; index < bytes.length; index += 29) {
      expect(refused({ ...good, evidence: flipped(bytes, index) }, pins), `byte ${index}`).toBeDefined();
    }
  });

  test("when it is spoilt, cleanly", () => {
    const good = snp.evidence();
    const [bytes, below] = [Buffer.from(good.evidence), mulberry(5)];
    for (let n = 0; n < 500; n++) {
      const spoilt = mutate(bytes, below);
      if (!spoilt.equals(bytes)) expect(refused({ ...good, evidence: spoilt })).toBeDefined();
    }
  });
});

test("an HCL report that is cut off, or of unknown hardware, is refused", () => {
  const report = Buffer.alloc(2600);
  report.write("HCLA", 0, "latin1");
  report.writeUInt32LE(2, 1216 + 8);
  report.writeUInt32LE(1, 1216 + 12);
  report.writeUInt32LE(10, 1216 + 16);
  expect(readHclReport(report)).toMatchObject({ hardware: "sev-snp", runtimeClaims: Buffer.alloc(10) });
  const spoilt = (offset: number, value: number): string => {
    const copy = Buffer.from(report);
    copy.writeUInt32LE(value, offset);
    return refusal(() => readHclReport(copy)).code;
  };
  expect(spoilt(0, 0)).toBe("MALFORMED");
  expect(spoilt(1216 + 8, 3)).toBe("UNSUPPORTED");
  expect(spoilt(1216 + 12, 2)).toBe("UNSUPPORTED");
  expect(spoilt(1216 + 16, 1365)).toBe("MALFORMED");
  expect(refusal(() => readHclReport(report.subarray(0, 1000))).code).toBe("MALFORMED");
});

describe.skipIf(!samplesAreHere)("evidence captured from Azure", () => {
  interface Captured {
    tpm_quote: { signature: string; message: string; pcrs: string[] };
    hcl_report: string;
    vcek: string;
    td_quote: string;
  }
  const read = (name: string): Captured => JSON.parse(sample(`azure/${name}`).toString()) as Captured;
  const convert = ({ tpm_quote: quote, hcl_report: hcl, td_quote: tdQuote }: Captured): AzureEvidence => {
    const { hardware, hardwareReport, runtimeClaims } = readHclReport(Buffer.from(hcl, "base64url"));
    return {
      hardware,
      report: hardware === "tdx" ? Buffer.from(tdQuote, "base64url") : hardwareReport,
      runtimeClaims,
      attest: Buffer.from(quote.message, "hex"),
      signature: { scheme: "rsassa", hash: "sha256", value: Buffer.from(quote.signature, "hex") },
      pcrs: new Map(quote.pcrs.map((value, pcr) => [pcr, Buffer.from(value, "hex")])),
    };
  };
  const time = new Date("2025-06-01T00:00:00Z");

  test("of SEV-SNP is verified at its time, down to AMD's root", () => {
    const captured = read("snp-evidence-v2.json");
    const evidence = parseAzureEvidence(formatAzureEvidence(convert(captured)));
    const endorsements = [Buffer.from(captured.vcek, "base64url"), ...samplePem("snp/milan-chain.pem")];
    // What it was asked to include is 48 bytes: more than ours are.
    const extraData = Buffer.from(
      "982f5c6e45df0ed3f10b6f60b02f0c8390e281300f3805e2279c16168cd6ae9aa398f647caa2338748cd0fd9f5f819ef",
      "hex",
    );
    const { measurement } = authenticateSnp(evidence.report, endorsements, { roots: [AMD_ROOTS.Milan], at: time });
    const pins: AzurePins = {
      silicon: {
        type: "sev-snp",
        pins: {
          roots: [AMD_ROOTS.Milan],
          measurements: [measurement.toString("hex")],
          minTcb: { fmc: 0, bootloader: 4, tee: 0, snp: 24, microcode: 219 },
          vmpl: 0,
          guestMay: ["smt"],
          platformMust: [],
          revocation: { by: "authorities", authorities: [readCertificate(endorsements[1]!).fingerprint] },
          acceptKnownBroken: ["arxiv:2605.12990"],
        },
      },
      code: [{ name: "pcr4", values: [captured.tpm_quote.pcrs[4]!] }],
      identity: [{ name: "vm_id", values: ["7DF7B373-B947-4AAA-96E5-C358F2A03D20"] }],
    };
    const appraise = (over: Partial<AzurePins> = {}, o = { extraData, at: time }): Verified =>
      appraiseAzure(evidence, endorsements, o, { ...pins, ...over });
    expect(appraise().measurements).toMatchObject({ pcr4: captured.tpm_quote.pcrs[4] });

    expect(refusal(() => appraise({}, { extraData: reportData, at: time })).code).toBe("REPORT_DATA");
    expect(refusal(() => appraise({}, { extraData, at: new Date("2050-01-01") })).code).toBe("STALE");
    expect(refusal(() => appraise({ code: snp.pins.code })).code).toBe("MEASUREMENT");
    expect(refusal(() => appraise({ identity: snp.pins.identity })).code).toBe("IDENTITY");
    expect(refusal(() => appraise({ silicon: snp.pins.silicon })).code).toBe("ROOT");
  });

  test("of TDX binds its claims to the quote, which came without collateral", () => {
    const evidence = convert(read("tdx-evidence-v1.json"));
    const { runtimeClaims, report } = evidence;
    const covered = createHash("sha256").update(runtimeClaims).digest();
    expect(readQuote(report).td.reportData).toEqual(fullReportData(covered));
    const { pins, endorsements } = examples.tdx;
    const appraise = (): Verified => appraiseAzure(evidence, endorsements, { extraData: reportData, at: time }, pins);
    expect(refusal(appraise).code).toBe("ROOT");
  });
});
