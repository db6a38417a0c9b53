import { createHash, X509Certificate } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { Expected } from "@agentkeys/lib/evidence/evidence";
import { beginActivation, tpm2Verifier } from "@agentkeys/lib/evidence/tpm2";
import { extendPcr, type Tpm } from "@agentkeys/lib/tpm2";
import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import type { EvidenceProvider } from "../provider.ts";
import { CODE_PCR, measurementOf, pcrAfter, startTpmMachine, type TpmMachine } from "../testing/tpm-machine.ts";
import { tpm2Provider } from "./tpm2.ts";

describe.skipIf(!hasSwtpm("services/keys/backends/tee/providers/tpm2", process.env))("a worker with a TPM", () => {
  let machine: TpmMachine;
  let tpm: Tpm;
  let provider: EvidenceProvider;
  const der = (pem: string): Buffer => new X509Certificate(pem).raw;
  const expected = (): Expected => ({ nonce: Buffer.alloc(32, 1), reportData: Buffer.alloc(32, 2), at: new Date() });
  const code = [{ name: `pcr${CODE_PCR}` as const, values: [pcrAfter("v1").toString("hex")] as const }] as const;

  beforeAll(async () => {
    machine = await startTpmMachine();
    tpm = await machine.power("v1");
    const { authority } = machine.tpm;
    provider = tpm2Provider({ tpm, pcrs: [0, 4, 7, CODE_PCR], issuers: [der(authority.issuer), der(authority.root)] });
  });
  afterAll(() => machine.stop());

  test("is enrolled by its TPM's maker and known by its key's name from then on, across restarts", async () => {
    const { nonce, reportData } = expected();
    const evidence = await provider.evidence(reportData, nonce);
    const { challenge, finish } = beginActivation(evidence);
    const activated = finish((await provider.activate?.(challenge)) ?? Buffer.alloc(0));
    const root = createHash("sha256").update(der(machine.tpm.authority.root)).digest("hex");
    const enrolled = tpm2Verifier.verify(evidence, expected(), {
      code,
      identity: { by: "ek-root", roots: [root], activated },
    });
    const name = enrolled.identity["ak_name"] ?? "";
    expect(name).toMatch(/^000b[0-9a-f]{64}$/);

    tpm = await machine.power("v1");
    const again = await tpm2Provider({ tpm, pcrs: [CODE_PCR], issuers: [] }).evidence(reportData, nonce);
    const verified = tpm2Verifier.verify(again, expected(), { code, identity: { by: "ak-name", names: [name] } });
    expect(verified.measurements).toEqual({ pcr11: pcrAfter("v1").toString("hex") });

    await tpm.use((t) => extendPcr(t, CODE_PCR, measurementOf("more")));
    const changed = await tpm2Provider({ tpm, pcrs: [CODE_PCR], issuers: [] }).evidence(reportData, nonce);
    expect(() =>
      tpm2Verifier.verify(changed, expected(), { code, identity: { by: "ak-name", names: [name] } }),
    ).toThrow(/pcr11 is [0-9a-f]{64}, expected/);
  });
});
