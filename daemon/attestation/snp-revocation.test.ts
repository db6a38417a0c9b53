import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { appraise, type Evidence, mediaTypes } from "@agentkeys/lib/evidence";
import { createAzureExample } from "@agentkeys/lib/evidence/testing/azure-cvm";
import { issueCrl } from "@agentkeys/lib/evidence/testing/crl";
import { refusal } from "@agentkeys/lib/evidence/testing/refusal";
import { createSnpExample } from "@agentkeys/lib/evidence/testing/sev-snp-example";
import { readCertificate } from "@agentkeys/lib/evidence/x509";

import { policyFor } from "../testing/attested-service.ts";
import { readPolicyFile } from "./policy.ts";

const at = new Date("2026-03-01T12:00:00Z");
const days = (n: number): Date => new Date(at.getTime() + n * 864e5);
const expected = { nonce: Buffer.alloc(32, 1), reportData: Buffer.alloc(32, 2), at };
const example = createSnpExample(at, expected.reportData);
const evidence: Evidence = {
  mediaType: mediaTypes["sev-snp"],
  evidence: example.report(),
  endorsements: example.certificates,
};
const folder = mkdtempSync(join(tmpdir(), "agentkeys-revocation-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a list beside the policy, as AMD publishes them. */
function publish(name: string, revoked: readonly string[], nextUpdate = days(30)): string {
  const list = issueCrl({ issuer: example.ark, thisUpdate: days(-30), nextUpdate, revoked });
  writeFileSync(join(folder, name), list);
  return name;
}

const silicon = {
  roots_sha256: example.pins.roots,
  measurements: example.pins.measurements,
  min_tcb: example.pins.minTcb,
  vmpl: 0,
  guest_may: ["smt"],
  platform_must: [],
  accept_known_broken: [],
};

async function read(revocation: unknown, wrap: (silicon: object) => object = direct) {
  const file = join(folder, "policy.json");
  const platforms = [wrap({ ...silicon, revocation })];
  writeFileSync(file, policyFor({ rootSha256: "64".repeat(32) }, { platforms }), { mode: 0o600 });
  return (await readPolicyFile(file)).platforms[0];
}

const direct = (below: object): object => ({
  type: "sev-snp",
  ...below,
  identity: { chip_id: [example.pins.identity[0].values[0]] },
});
const serial = readCertificate(example.ask.der).serial;
const verdict = async (revocation: unknown): Promise<string> => {
  const platform = (await read(revocation)).pinned(undefined);
  try {
    return appraise(evidence, expected, [platform]).type;
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test("authorities of AMD are accepted by their fingerprints", async () => {
  const { fingerprint } = readCertificate(example.ask.der);
  expect(await verdict({ authorities_sha256: ["00".repeat(32), fingerprint] })).toBe("sev-snp");
  expect(await verdict({ authorities_sha256: ["00".repeat(32)] })).toBe("ROOT");
});

test("authorities of AMD are accepted as long as a current list beside the policy does not name them", async () => {
  expect(await verdict({ lists: { vcek: [publish("good.crl", [])] } })).toBe("sev-snp");
  expect(await verdict({ lists: { vcek: [publish("bad.crl", [serial])] } })).toBe("REVOKED");
  expect(await verdict({ lists: { vcek: ["good.crl", "bad.crl"] } })).toBe("REVOKED");
  expect(await verdict({ lists: { vcek: [publish("old.crl", [], days(-1))] } })).toBe("STALE");
  expect(await verdict({ lists: { vlek: ["good.crl"] } })).toBe("ROOT");
  expect(await verdict({ lists: { vcek: ["good.crl"], vlek: ["bad.crl"] } })).toBe("sev-snp");
});

test("a list that anybody may put back to last month's is refused", async () => {
  chmodSync(join(folder, publish("open.crl", [])), 0o666);
  await expect(read({ lists: { vcek: ["open.crl"] } })).rejects.toMatchObject({ reason: "POLICY_PERMISSIONS" });
});

test("the silicon below a confidential VM of Azure is held to it as well", async () => {
  const azure = createAzureExample(at, expected.reportData, "sev-snp");
  const wrap = (below: object): object => ({
    type: "azure-cvm",
    hardware: "sev-snp",
    silicon: { ...below, roots_sha256: azure.pins.silicon.pins.roots },
    code: { pcr11: ["0c".repeat(32)] },
    identity: { ak_key: [azure.pins.identity[0].values[0]] },
  });
  publish("good.crl", []);
  const platform = await read({ lists: { vcek: [join(folder, "good.crl")] } }, wrap);
  expect(platform.demands.join("\n")).toContain(`by lists that have to be current: ${join(folder, "good.crl")} (VCEK)`);
  // Its root is another one of the same name, which did not sign that list.
  expect(refusal(() => appraise(azure.evidence(), expected, [platform.pinned(undefined)])).code).toBe("SIGNATURE");
});

describe("is refused in a policy:", () => {
  test.each<[string, unknown, string]>([
    ["nothing", undefined, "platforms[0].revocation is missing"],
    ["neither", {}, "platforms[0].revocation.authorities_sha256 is missing"],
    ["both", { authorities_sha256: ["00".repeat(32)], lists: {} }, "one of them decides"],
    ["a word", "none", "platforms[0].revocation must be an object"],
    ["another word", { none: true }, "platforms[0].revocation.authorities_sha256 is missing"],
    ["no authority", { authorities_sha256: [] }, "must not be empty"],
    ["no list", { lists: {} }, "platforms[0].revocation.lists must name a list"],
    ["a list of nobody", { lists: { vcek: [] } }, "must not be empty"],
    ["a list of another kind", { lists: { asvk: ["x"] } }, "platforms[0].revocation.lists.asvk is not known here"],
    ["a list that is not there", { lists: { vcek: ["nowhere.crl"] } }, "nowhere.crl, which cannot be read"],
  ])("%s", async (_, revocation, words) => {
    await expect(read(revocation)).rejects.toMatchObject({
      reason: "POLICY_INVALID",
      message: expect.stringContaining(words) as string,
    });
  });
});
