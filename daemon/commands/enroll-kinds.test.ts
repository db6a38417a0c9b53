import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { claimsDigest, parseClaims } from "@agentkeys/lib/evidence/claims";
import { type Evidence, mediaTypes } from "@agentkeys/lib/evidence/evidence";
import { createAzureExample } from "@agentkeys/lib/evidence/testing/azure-cvm";
import { issueSnpReport } from "@agentkeys/lib/evidence/testing/sev-snp";
import { createSnpExample } from "@agentkeys/lib/evidence/testing/sev-snp-example";
import { createSoftSigner, issueSoftEvidence } from "@agentkeys/lib/evidence/testing/soft";
import { createTdxExample } from "@agentkeys/lib/evidence/testing/tdx-example";
import { systemRandom } from "@agentkeys/lib/random";

import { startAttestedService } from "../testing/attested-service.ts";
import { type Outcome, runInside } from "../testing/terminal.ts";

const NOW = Date.UTC(2030, 0, 1);
const clock = (): number => NOW;
const at = new Date(NOW);
const base = mkdtempSync(join(tmpdir(), "agentkeys-enroll-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** A worker on one kind of hardware: what it answers for claims, and the same with another code. */
interface Kind {
  root: string;
  ours: (asked: Asked) => Evidence;
  other: (asked: Asked) => Evidence;
  /** What enroll writes down of it. */
  platform: object;
  /** What verify says of the other code. */
  differs: string;
}

interface Asked {
  nonce: Uint8Array;
  reportData: Buffer;
}

const padded = (reportData: Buffer): Buffer => Buffer.concat([reportData, Buffer.alloc(32)]);

function sevSnp(): Kind {
  const example = createSnpExample(at, Buffer.alloc(32));
  const evidenceOf = (report: Buffer): Evidence => ({
    mediaType: mediaTypes["sev-snp"],
    evidence: report,
    endorsements: example.certificates,
  });
  const [root] = example.pins.roots;
  return {
    root,
    ours: ({ reportData }) => evidenceOf(example.report({ reportData: padded(reportData) })),
    other: ({ reportData }) =>
      evidenceOf(example.report({ reportData: padded(reportData), measurement: Buffer.alloc(48, 9) })),
    platform: {
      type: "sev-snp",
      roots_sha256: [root],
      measurements: ["03".repeat(48)],
      min_tcb: example.pins.minTcb,
      vmpl: 0,
      guest_may: ["smt"],
      platform_must: ["alias_check", "ecc"],
      revocation: { authorities_sha256: [createHash("sha256").update(example.ask.der).digest("hex")] },
      accept_known_broken: [],
      identity: { chip_id: ["07".repeat(64)], host_data: ["04".repeat(32)] },
    },
    differs: `measurement is ${"09".repeat(48)}`,
  };
}

function tdx(): Kind {
  const example = createTdxExample(at, Buffer.alloc(32));
  const evidenceOf = (evidence: Buffer): Evidence => ({
    mediaType: mediaTypes.tdx,
    evidence,
    endorsements: [example.collateral()],
  });
  const [root] = example.pins.roots;
  const [rtmr0, , rtmr2, rtmr3] = example.claims.rtmrs;
  const changed = [rtmr0, Buffer.alloc(48, 9), rtmr2, rtmr3] as typeof example.claims.rtmrs;
  return {
    root,
    ours: ({ reportData }) => evidenceOf(example.quote({ reportData: padded(reportData) })),
    other: ({ reportData }) => evidenceOf(example.quote({ reportData: padded(reportData), rtmrs: changed })),
    platform: {
      type: "tdx",
      roots_sha256: [root],
      mrtd: ["03".repeat(48)],
      tcb_statuses: ["UpToDate"],
      advisories_allowed: [],
      min_tcb_evaluation: 17,
      // RTMR 3 was never extended: it pins nothing.
      code: { rtmr0: ["10".repeat(48)], rtmr1: ["11".repeat(48)], rtmr2: ["12".repeat(48)] },
      identity: { ppid: ["01".repeat(16)] },
    },
    differs: `rtmr1 is ${"09".repeat(48)}`,
  };
}

function azure(hardware: "sev-snp" | "tdx"): Kind {
  const example = createAzureExample(at, Buffer.alloc(32), hardware);
  const [root] = example.pins.silicon.pins.roots;
  const pcrs = (pcr11: number): Map<number, Buffer> =>
    new Map(Array.from({ length: 12 }, (_, pcr) => [pcr, Buffer.alloc(32, pcr === 11 ? pcr11 : pcr + 1)]));
  return {
    root,
    ours: ({ reportData }) => example.evidence({ quoted: { extraData: reportData } }),
    other: ({ reportData }) => example.evidence({ quoted: { extraData: reportData, pcrs: pcrs(0x99) } }),
    platform: {
      type: "azure-cvm",
      hardware,
      silicon: { roots_sha256: [root], ...(hardware === "sev-snp" ? { vmpl: 0 } : { min_tcb_evaluation: 17 }) },
      code: { pcr0: ["01".repeat(32)], pcr11: ["0c".repeat(32)] },
      identity: {
        ak_key: [example.pins.identity[0].values[0]],
        vm_id: ["00000000-0000-4000-8000-00000000000A"],
      },
    },
    differs: `pcr11 is ${"99".repeat(32)}`,
  };
}

function soft(): Kind {
  const day = 864e5;
  const validity = { notBefore: new Date(NOW - day), notAfter: new Date(NOW + day) };
  const signer = createSoftSigner({ random: systemRandom, validity });
  const issue = (program: string, { nonce, reportData }: Asked): Evidence =>
    issueSoftEvidence(
      { nonce, reportData, madeAt: at, measurements: { program }, identity: { machine: "mine" } },
      signer,
    );
  const root = createHash("sha256")
    .update(signer.certificates.at(-1) ?? Buffer.alloc(0))
    .digest("hex");
  return {
    root,
    ours: (asked) => issue("v1", asked),
    other: (asked) => issue("v2", asked),
    platform: {
      type: "soft",
      development: true,
      roots_sha256: [root],
      code: { program: ["v1"] },
      identity: { machine: ["mine"] },
    },
    differs: "program is v2, expected v1",
  };
}

/** A worker that shows evidence of this kind, and the program on a machine that asks it. */
async function asked(show: () => (asked: Asked) => Evidence) {
  const service = await startAttestedService({
    clock,
    answer: (answer) => {
      const { claims } = answer;
      const { nonce } = parseClaims(claims);
      const made = show()({ nonce, reportData: Buffer.from(claimsDigest(claims)) });
      return { ...answer, ...made, endorsements: [...made.endorsements] };
    },
  });
  const folder = mkdtempSync(join(base, "machine-"));
  const file = join(folder, "policy.json");
  const agentkeys = (...argv: string[]): Promise<Outcome> =>
    runInside(argv, {
      clock,
      env: {
        AGENTKEYS_KEYS_URL: service.url,
        AGENTKEYS_STATE_DIR: join(folder, "state"),
        AGENTKEYS_ATTESTATION_POLICY: file,
      },
    });
  return { service, file, agentkeys };
}

describe("attest enroll on", () => {
  test.each<[string, () => Kind]>([
    ["sev-snp", sevSnp],
    ["tdx", tdx],
    ["azure-cvm with SEV-SNP below", () => azure("sev-snp")],
    ["azure-cvm with TDX below", () => azure("tdx")],
    ["soft", soft],
  ])("%s writes a policy of what is there, which then holds for it and not for other code", async (_, make) => {
    const kind = make();
    let show = kind.ours;
    const { service, file, agentkeys } = await asked(() => show);
    try {
      const outcome = await agentkeys("attest", "enroll", "--root-sha256", kind.root);
      expect(outcome).toMatchObject({ code: 0, stderr: "" });
      const { platforms } = JSON.parse(readFileSync(file, "utf8")) as { platforms: object[] };
      expect(platforms).toHaveLength(1);
      expect(platforms[0]).toMatchObject(kind.platform);
      expect((await agentkeys("attest", "explain")).stdout).toContain(kind.root);
      expect(await agentkeys("attest", "verify")).toMatchObject({ code: 0, stderr: "" });

      show = kind.other;
      const verified = await agentkeys("attest", "verify");
      expect(verified.code).toBe(1);
      expect(verified.stdout).toContain(kind.differs);
    } finally {
      await service.close();
    }
  });

  test.each<[string, () => Kind, string]>([
    ["sev-snp", sevSnp, "ATTESTATION_ROOT"],
    ["tdx", tdx, "ATTESTATION_ROOT"],
    ["azure-cvm", () => azure("tdx"), "ATTESTATION_ROOT"],
    ["soft", soft, "ATTESTATION_ROOT"],
  ])("%s writes nothing where nobody vouches for its root", async (_, make, reason) => {
    const kind = make();
    const { service, file, agentkeys } = await asked(() => kind.ours);
    try {
      const outcome = await agentkeys("attest", "enroll", "--json");
      expect(outcome.code).toBe(1);
      expect(outcome.stderr).toContain(reason);
      expect(() => readFileSync(file)).toThrow();
    } finally {
      await service.close();
    }
  });

  test.each<[string, () => Kind]>([
    ["sev-snp", sevSnp],
    ["tdx", tdx],
    ["azure-cvm", () => azure("sev-snp")],
    ["soft", soft],
  ])("%s writes nothing where its evidence is over other claims", async (_, make) => {
    const kind = make();
    const { service, file, agentkeys } = await asked(
      () =>
        ({ nonce }) =>
          kind.ours({ nonce, reportData: Buffer.alloc(32, 1) }),
    );
    try {
      const outcome = await agentkeys("attest", "enroll", "--json", "--root-sha256", kind.root);
      expect(outcome.code).toBe(1);
      expect(outcome.stderr).toContain("ATTESTATION_REPORT_DATA");
      expect(() => readFileSync(file)).toThrow();
    } finally {
      await service.close();
    }
  });

  test("a broken generation of SEV-SNP writes nothing: a person has to name what broke it", async () => {
    const example = createSnpExample(at, Buffer.alloc(32));
    const chipId = Buffer.alloc(64, 7);
    const { key, certificates } = example.platform("Milan-B1", { chipId }, example.claims.tcb);
    const { service, file, agentkeys } = await asked(() => ({ reportData }) => ({
      mediaType: mediaTypes["sev-snp"],
      evidence: issueSnpReport(
        { ...example.claims, cpu: { family: 0x19, model: 1 }, reportData: padded(reportData) },
        "Milan",
        key,
      ),
      endorsements: certificates,
    }));
    try {
      const outcome = await agentkeys("attest", "enroll", "--root-sha256", example.pins.roots[0]);
      expect(outcome.code).toBe(1);
      expect(outcome.stderr).toContain("reports of Milan can be forged (arxiv:2605.12990)");
      expect(() => readFileSync(file)).toThrow();
    } finally {
      await service.close();
    }
  });
});
