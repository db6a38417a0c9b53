import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";

import {
  type GetAttestationResponse,
  GetAttestationResponseSchema,
} from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { type Evidence, mediaTypes, type Platform } from "@agentkeys/lib/evidence";
import { type Claims, claimsDigest, encodeClaims, signClaims } from "@agentkeys/lib/evidence/claims";
import { privateKeyOf, signAs } from "@agentkeys/lib/evidence/ed25519";
import { createAzureExample } from "@agentkeys/lib/evidence/testing/azure-cvm";
import { mulberry, mutate } from "@agentkeys/lib/evidence/testing/mutation";
import { createNitroExample } from "@agentkeys/lib/evidence/testing/nitro-example";
import { createSnpExample } from "@agentkeys/lib/evidence/testing/sev-snp-example";
import { createTdxExample } from "@agentkeys/lib/evidence/testing/tdx-example";
import { createQuotingKey, tpm2EvidenceOf } from "@agentkeys/lib/evidence/testing/tpm2";

import {
  createTlsIdentity,
  IDENTITY,
  IDENTITY_KEY,
  LOG_KEY,
  policyFor,
  SETTINGS,
} from "../testing/attested-service.ts";
import { type Asked, examine } from "@agentkeys/lib/attested/appraise";
import { parsePolicy, type Policy } from "./policy.ts";

const NOW = Date.UTC(2030, 0, 1);
const at = new Date(NOW);
const identity = createTlsIdentity(NOW);
const nonce = Buffer.alloc(32, 1);
const exporter = Buffer.alloc(32, 2);
const asked: Asked = { nonce, connection: { spkiSha256: identity.spkiSha256, exporter }, at: NOW };
const claims: Claims = {
  nonce,
  tlsExporter: exporter,
  tlsSpkiSha256: identity.spkiSha256,
  issuedAt: NOW / 1000,
  bootId: "b".repeat(22),
  identityKey: IDENTITY_KEY,
  signerVersion: "0.1.0",
  settings: SETTINGS,
  log: { vkey: LOG_KEY, size: 0, root: Buffer.alloc(32, 3) },
};
const encoded = Buffer.from(encodeClaims(claims));
const reportData = Buffer.from(claimsDigest(encoded));

/** Evidence of each kind over these claims, and the platform that would be pinned. */
function kinds(): [string, Evidence, Platform][] {
  const nitro = createNitroExample(at, { nonce, reportData });
  const snp = createSnpExample(at, reportData);
  const tdx = createTdxExample(at, reportData);
  const azure = createAzureExample(at, reportData, "tdx");
  const tpm = createQuotingKey();
  const pcrs = new Map([[11, Buffer.alloc(32, 5)]]);
  const code = [{ name: "pcr11", values: ["05".repeat(32)] }] as const;
  const of = (type: Platform["type"], evidence: Buffer, endorsements: readonly Uint8Array[]): Evidence => ({
    mediaType: mediaTypes[type],
    evidence,
    endorsements,
  });
  return [
    [
      "aws-nitro",
      of("aws-nitro", nitro.document({ publicKey: identity.spki }), []),
      { type: "aws-nitro", pins: nitro.pins },
    ],
    ["sev-snp", of("sev-snp", snp.report(), snp.certificates), { type: "sev-snp", pins: snp.pins }],
    ["tdx", of("tdx", tdx.quote({ padding: 0 }), [tdx.collateral()]), { type: "tdx", pins: tdx.pins }],
    ["azure-cvm", azure.evidence(), { type: "azure-cvm", pins: azure.pins }],
    [
      "tpm2",
      tpm2EvidenceOf(tpm.quote({ extraData: reportData, pcrs })),
      { type: "tpm2", pins: { code, identity: { by: "ak-name", names: [tpm.name] } } },
    ],
  ];
}

describe.each(kinds())("an answer with evidence of %s", (type, evidence, platform) => {
  const policy: Policy = {
    ...parsePolicy(policyFor({ rootSha256: "64".repeat(32) })),
    platforms: [{ type: platform.type, demands: [], needsActivation: false, pinned: () => platform }],
  };
  const answerWith = (changes: Partial<Omit<GetAttestationResponse, "$typeName">> = {}): GetAttestationResponse =>
    create(GetAttestationResponseSchema, {
      ...{ mediaType: evidence.mediaType, evidence: evidence.evidence, claims: encoded },
      identitySignature: signClaims(encoded, IDENTITY),
      endorsements: [...evidence.endorsements],
      ...changes,
    });

  test("is what the policy demands, as it was made", () => {
    const { checks, appraisal } = examine(answerWith(), asked, policy);
    expect(checks.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(appraisal?.verified.type).toBe(type);
  });

  test("is nothing that a connection would be used for, spoilt in any part, and says why", () => {
    const below = mulberry(12);
    const given: Buffer[] = [evidence.evidence, encoded, ...evidence.endorsements].map((bytes) => Buffer.from(bytes));
    for (let n = 0; n < 200; n++) {
      const position = below(given.length);
      const spoilt = mutate(given[position] ?? Buffer.alloc(0), below);
      if (spoilt.equals(given[position] ?? Buffer.alloc(0))) continue;
      const [evidenceBytes, claimBytes, ...endorsements] = given.with(position, spoilt);
      const answer = answerWith({ evidence: evidenceBytes ?? encoded, claims: claimBytes ?? encoded, endorsements });
      const { checks, appraisal } = examine(answer, asked, policy);
      // Zeros after a quote are part of no signature, and of no meaning: as many as there are.
      const isPadding = appraisal !== undefined && /^(tdx|azure-cvm)$/.test(type) && position === 0;
      if (!isPadding) expect(appraisal, `part ${position}: ${spoilt.toString("base64")}`).toBeUndefined();
      expect(checks.some(({ error }) => error !== undefined)).toBe(!isPadding);
    }
  });

  test.each<[string, Partial<Asked>]>([
    ["another nonce", { nonce: Buffer.alloc(32, 9) }],
    ["another key", { connection: { spkiSha256: Buffer.alloc(32, 9), exporter } }],
    ["another connection", { connection: { spkiSha256: identity.spkiSha256, exporter: Buffer.alloc(32, 9) } }],
    ["a later time", { at: NOW + 62_000 }],
    ["an earlier time", { at: NOW - 62_000 }],
  ])("is none for %s", (_, changes) => {
    expect(examine(answerWith(), { ...asked, ...changes }, policy).appraisal).toBeUndefined();
  });

  test("is none without the identity key's own word, whatever the hardware vouches for", () => {
    const by = (seed: number): Uint8Array => signClaims(encoded, privateKeyOf(Buffer.alloc(32, seed)));
    const forOther = signAs("agentkeys/backup-manifest/v1", encoded, IDENTITY);
    for (const identitySignature of [new Uint8Array(), Buffer.alloc(64), by(0x1e), forOther]) {
      const { checks, appraisal } = examine(answerWith({ identitySignature }), asked, policy);
      expect(appraisal).toBeUndefined();
      expect(checks.flatMap(({ error }) => error ?? [])).toMatchObject([
        { code: "IDENTITY", message: "the claims are not signed by the identity key that they name" },
      ]);
    }
  });

  test("is none under the name of another kind, or with endorsements left out or doubled", () => {
    for (const mediaType of Object.values(mediaTypes)) {
      if (mediaType === evidence.mediaType) continue;
      expect(examine(answerWith({ mediaType }), asked, policy).appraisal).toBeUndefined();
    }
    const { endorsements } = evidence;
    if (endorsements.length > 0) {
      expect(examine(answerWith({ endorsements: [] }), asked, policy).appraisal).toBeUndefined();
      const doubled = [...endorsements, ...endorsements];
      expect(examine(answerWith({ endorsements: doubled }), asked, policy).appraisal).toBeUndefined();
    }
  });
});
