import { systemRandom } from "@agentkeys/lib/random";
import { formatAzureEvidence } from "@agentkeys/lib/evidence/azure-cvm/azure-evidence";
import { readHclReport } from "@agentkeys/lib/evidence/azure-cvm/hcl";
import { appraiseAzure } from "@agentkeys/lib/evidence/azure-cvm/verify";
import { parseAzureEvidence } from "@agentkeys/lib/evidence/azure-cvm/azure-evidence";
import { decodeCbor } from "@agentkeys/lib/evidence/cbor";
import {
  AMD_ROOTS,
  appraise,
  AWS_NITRO_ROOT,
  type Evidence,
  INTEL_ROOT,
  mediaTypes,
  type Platform,
} from "@agentkeys/lib/evidence";
import { authenticateNitro } from "@agentkeys/lib/evidence/nitro";
import { authenticateSnp } from "@agentkeys/lib/evidence/sev-snp/verify";
import { authenticateTdx } from "@agentkeys/lib/evidence/tdx/verify";
import { createAzureExample } from "@agentkeys/lib/evidence/testing/azure-cvm";
import { issueCrl } from "@agentkeys/lib/evidence/testing/crl";
import { createNitroExample } from "@agentkeys/lib/evidence/testing/nitro-example";
import { sample, samplePem, samplesAreHere } from "@agentkeys/lib/evidence/testing/samples";
import { createSnpExample } from "@agentkeys/lib/evidence/testing/sev-snp-example";
import { createSoftSigner, issueSoftEvidence } from "@agentkeys/lib/evidence/testing/soft";
import { createTdxExample } from "@agentkeys/lib/evidence/testing/tdx-example";
import { createQuotingKey, tpm2EvidenceOf } from "@agentkeys/lib/evidence/testing/tpm2";
import { readCertificate } from "@agentkeys/lib/evidence/x509";

/** Genuine bytes, and what takes them: evidence or one of its endorsements, with all the rest as it should be. */
export interface Case {
  name: string;
  bytes: Buffer;
  verify: (bytes: Buffer) => unknown;
}

/** Evidence of every kind under test roots, whole verifications by what is pinned. */
export function issuedCases(): Case[] {
  const at = new Date("2026-03-01T12:00:00Z");
  const expected = { nonce: Buffer.alloc(32, 1), reportData: Buffer.alloc(32, 2), at };
  const { reportData } = expected;
  const cases = (platform: Platform, evidence: Evidence): Case[] => {
    const verify = (changed: Evidence): unknown => appraise(changed, expected, [platform]);
    return [
      {
        name: platform.type,
        bytes: Buffer.from(evidence.evidence),
        verify: (bytes) => verify({ ...evidence, evidence: bytes }),
      },
      ...evidence.endorsements.map((endorsement, index) => ({
        name: `${platform.type}, endorsement ${index + 1}`,
        bytes: Buffer.from(endorsement),
        verify: (bytes: Buffer) => verify({ ...evidence, endorsements: evidence.endorsements.with(index, bytes) }),
      })),
    ];
  };
  const of = (type: Platform["type"], evidence: Uint8Array, endorsements: readonly Uint8Array[]): Evidence => ({
    mediaType: mediaTypes[type],
    evidence,
    endorsements,
  });
  const nitro = createNitroExample(at, expected);
  const snp = createSnpExample(at, reportData);
  const issued = { thisUpdate: new Date(at.getTime() - 1000), nextUpdate: new Date(at.getTime() + 1000) };
  const list = issueCrl({ issuer: snp.ark, ...issued, revoked: ["0a", "0b"] });
  const tdx = createTdxExample(at, reportData);
  const azure = {
    "sev-snp": createAzureExample(at, reportData, "sev-snp"),
    tdx: createAzureExample(at, reportData, "tdx"),
  };
  const tpm = createQuotingKey();
  const pcrs = new Map([[11, Buffer.alloc(32, 5)]]);
  const pcr11 = { name: "pcr11", values: ["05".repeat(32)] } as const;
  const validity = { notBefore: new Date(at.getTime() - 1000), notAfter: new Date(at.getTime() + 1000) };
  const soft = createSoftSigner({ random: systemRandom, validity });
  const [softRoot = ""] = soft.certificates.slice(-1).map((der) => readCertificate(der).fingerprint);
  const softClaims = { ...expected, madeAt: at, measurements: { code: "1" }, identity: { machine: "2" } };
  return [
    ...cases(
      { type: "tpm2", pins: { code: [pcr11], identity: { by: "ak-name", names: [tpm.name] } } },
      tpm2EvidenceOf(tpm.quote({ extraData: reportData, pcrs })),
    ),
    ...cases({ type: "aws-nitro", pins: nitro.pins }, of("aws-nitro", nitro.document(), [])),
    ...cases({ type: "sev-snp", pins: snp.pins }, of("sev-snp", snp.report(), snp.certificates)),
    {
      name: "sev-snp, AMD's list of the revoked",
      bytes: list,
      verify: (bytes) => {
        const revocation = { by: "lists", lists: [{ of: "VCEK", list: bytes }] } as const;
        return appraise(of("sev-snp", snp.report(), snp.certificates), expected, [
          { type: "sev-snp", pins: { ...snp.pins, revocation } },
        ]);
      },
    },
    ...cases({ type: "tdx", pins: tdx.pins }, of("tdx", tdx.quote(), [tdx.collateral()])),
    ...cases({ type: "azure-cvm", pins: azure["sev-snp"].pins }, azure["sev-snp"].evidence()),
    ...cases({ type: "azure-cvm", pins: azure.tdx.pins }, azure.tdx.evidence()),
    ...cases(
      {
        type: "soft",
        pins: {
          development: true,
          roots: [softRoot],
          code: [{ name: "code", values: ["1"] }],
          identity: [{ name: "machine", values: ["2"] }],
          maxAgeMs: 1000,
          clockSkewMs: 1000,
        },
      },
      issueSoftEvidence(softClaims, soft),
    ),
  ];
}

/** Evidence captured from real hardware, each at its own time; empty where it is not at hand. */
export function capturedCases(): Case[] {
  if (!samplesAreHere) return [];
  return [...capturedNitro(), ...capturedSnp(), ...capturedTdx(), ...capturedAzure()];
}

function capturedNitro(): Case[] {
  const roots = [AWS_NITRO_ROOT] as const;
  const unwrapped = (bytes: Buffer): Buffer => bytes.subarray(4, 4 + (bytes.readUInt16LE(2) >> 2));
  const documents = {
    evervault: sample("nitro/evervault-valid.bin"),
    dstack: unwrapped(sample("dstack/dstack-attest_tests_nitro_attestation.bin")),
  };
  return Object.entries(documents).map(([name, bytes]) => {
    const [, , payload] = decodeCbor(bytes) as readonly Buffer[];
    const fields = decodeCbor(payload ?? Buffer.alloc(0)) as ReadonlyMap<string, number>;
    const at = new Date(fields.get("timestamp") ?? NaN);
    return { name: `AWS Nitro (${name})`, bytes, verify: (changed) => authenticateNitro(changed, { roots, at }) };
  });
}

function capturedSnp(): Case[] {
  const rules = { roots: [AMD_ROOTS.Milan], at: new Date("2025-06-01T00:00:00Z") } as const;
  const report = sample("snp/test-report.bin");
  const certificates = [sample("snp/test-vcek.der"), ...samplePem("snp/milan-chain.pem")];
  const vlekReport = sample("snp/test-vlek-report.bin");
  const vlek = [sample("snp/test-vlek.der"), ...samplePem("snp/milan-vlek-chain.pem")];
  return [
    { name: "AMD SEV-SNP, VCEK", bytes: report, verify: (changed) => authenticateSnp(changed, certificates, rules) },
    { name: "AMD SEV-SNP, VLEK", bytes: vlekReport, verify: (changed) => authenticateSnp(changed, vlek, rules) },
    ...certificates.map((bytes, index) => ({
      name: `AMD SEV-SNP, certificate ${index + 1}`,
      bytes,
      verify: (changed: Buffer) => authenticateSnp(report, certificates.with(index, changed), rules),
    })),
  ];
}

function capturedTdx(): Case[] {
  const rules = { roots: [INTEL_ROOT], at: new Date("2025-06-20T00:00:00Z") } as const;
  const quote = sample("tdx/phala-tdx_quote");
  const collateral = Buffer.from(JSON.stringify(JSON.parse(sample("tdx/phala-tdx_quote_collateral.json").toString())));
  return [
    { name: "Intel TDX", bytes: quote, verify: (changed) => authenticateTdx(changed, collateral, rules) },
    { name: "Intel TDX, collateral", bytes: collateral, verify: (changed) => authenticateTdx(quote, changed, rules) },
  ];
}

function capturedAzure(): Case[] {
  const captured = JSON.parse(sample("azure/snp-evidence-v2.json").toString()) as {
    tpm_quote: { signature: string; message: string; pcrs: string[] };
    hcl_report: string;
    vcek: string;
  };
  const { hardware, hardwareReport, runtimeClaims } = readHclReport(Buffer.from(captured.hcl_report, "base64url"));
  const attest = Buffer.from(captured.tpm_quote.message, "hex");
  const bytes = formatAzureEvidence({
    hardware,
    report: hardwareReport,
    runtimeClaims,
    attest,
    signature: { scheme: "rsassa", hash: "sha256", value: Buffer.from(captured.tpm_quote.signature, "hex") },
    pcrs: new Map(captured.tpm_quote.pcrs.map((value, pcr) => [pcr, Buffer.from(value, "hex")])),
  });
  const endorsements = [Buffer.from(captured.vcek, "base64url"), ...samplePem("snp/milan-chain.pem")];
  // magic, type, a name of 36 bytes with its length, then what the quote was asked to include
  const extraData = attest.subarray(44, 44 + attest.readUInt16BE(42));
  const at = new Date("2025-06-01T00:00:00Z");
  const { measurement, authority } = authenticateSnp(hardwareReport, endorsements, { roots: [AMD_ROOTS.Milan], at });
  return [
    {
      name: "Azure on SEV-SNP",
      bytes,
      verify: (changed) =>
        appraiseAzure(
          parseAzureEvidence(changed),
          endorsements,
          { extraData, at },
          {
            silicon: {
              type: "sev-snp",
              pins: {
                roots: [AMD_ROOTS.Milan],
                measurements: [measurement.toString("hex")],
                minTcb: { fmc: 0, bootloader: 4, tee: 0, snp: 24, microcode: 219 },
                vmpl: 0,
                guestMay: ["smt"],
                platformMust: [],
                revocation: { by: "authorities", authorities: [authority.fingerprint] },
                acceptKnownBroken: ["arxiv:2605.12990"],
              },
            },
            code: [{ name: "pcr4", values: [captured.tpm_quote.pcrs[4] ?? ""] }],
            identity: [{ name: "vm_id", values: ["7DF7B373-B947-4AAA-96E5-C358F2A03D20"] }],
          },
        ),
    },
  ];
}
