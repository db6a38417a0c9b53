import { expect, test } from "vitest";

import { type Evidence, mediaTypes } from "@agentkeys/lib/evidence/evidence";
import { systemRandom } from "@agentkeys/lib/random";

import { tryEvidence } from "./evidence-trial.ts";

const trying = (mediaType: string, made: () => Promise<Partial<Evidence>>) =>
  tryEvidence(
    {
      mediaType,
      evidence: async () => ({ mediaType, evidence: Buffer.from("evidence"), endorsements: [], ...(await made()) }),
    },
    systemRandom,
  );

test("a machine that makes evidence passes, each time over other data", async () => {
  const seen: string[] = [];
  const mediaType = mediaTypes.tpm2;
  const evidence = (reportData: Uint8Array, nonce: Uint8Array): Promise<Evidence> => {
    seen.push(Buffer.from(reportData).toString("hex"), Buffer.from(nonce).toString("hex"));
    return Promise.resolve({ mediaType, evidence: Buffer.from("quote"), endorsements: [] });
  };
  await tryEvidence({ mediaType, evidence }, systemRandom);
  await tryEvidence({ mediaType, evidence }, systemRandom);
  expect(new Set(seen).size).toBe(4);
  expect(seen.every((bytes) => bytes.length === 64)).toBe(true);
});

test.each(Object.values(mediaTypes))(
  "a machine that cannot make %s says why, and what to look at",
  async (mediaType) => {
    const refusal = trying(mediaType, () => Promise.reject(new Error("it is broken")));
    await expect(refusal).rejects.toMatchObject({ name: "BootRefused", refusal: "NO_EVIDENCE" });
    await expect(refusal).rejects.toThrow(/it is broken; .*AGENTKEYS_TEE_|it is broken; .*confidential VM/);
  },
);

test("evidence that is empty, or that nobody can follow to its maker, is none", async () => {
  await expect(trying(mediaTypes.tpm2, () => Promise.resolve({ evidence: Buffer.alloc(0) }))).rejects.toThrow("empty");
  for (const kind of [mediaTypes["sev-snp"], mediaTypes.tdx, mediaTypes["azure-cvm"]]) {
    await expect(trying(kind, () => Promise.resolve({}))).rejects.toThrow("no certificate");
    await trying(kind, () => Promise.resolve({ endorsements: [Buffer.from("certificate")] }));
  }
});
