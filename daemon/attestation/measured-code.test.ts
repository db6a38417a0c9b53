import { generateKeyPairSync } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeEach, describe, expect, test } from "vitest";

import { type Measurements, signMeasurements } from "@agentkeys/lib/evidence/measurements";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";

import { policyFor } from "../testing/attested-service.ts";
import { readPolicyFile } from "./policy.ts";

const p256 = () => generateKeyPairSync("ec", { namedCurve: "P-256" });
const [release, stranger] = [p256(), p256()];
const folder = mkdtempSync(join(tmpdir(), "agentkeys-measured-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const [pcr4, pcr11, akName] = ["04".repeat(32), "0b".repeat(32), `000b${"5a".repeat(32)}`];
const measurements: Measurements = { release: "1.2.0", pcrs: { 4: pcr4, 11: pcr11 }, digests: {} };
const fingerprint = keyFingerprint(release.publicKey);
const from = { file: "measurements.jws", release_key: "release.pem", releases: ["1.1.0", "1.2.0"] };
const tpm2 = (changes: object = {}, code: object = {}): Record<string, unknown> => ({
  type: "tpm2",
  code: { measurements_from: { ...from, ...changes }, ...code },
  identity: { ak_name: [akName] },
});

beforeEach(async () => {
  await sign(measurements);
  writeFileSync(join(folder, "release.pem"), release.publicKey.export({ format: "pem", type: "spki" }));
  chmodSync(join(folder, "release.pem"), 0o644);
});

async function sign(what: Measurements, by = release): Promise<void> {
  writeFileSync(join(folder, "measurements.jws"), (await signMeasurements(what, by.privateKey)) + "\n");
}

async function read(platform: object) {
  const file = join(folder, "policy.json");
  writeFileSync(file, policyFor({ rootSha256: "64".repeat(32) }, { platforms: [platform] }), { mode: 0o600 });
  return (await readPolicyFile(file)).platforms[0];
}

const pinned = [
  { name: "pcr4", values: [pcr4] },
  { name: "pcr11", values: [pcr11] },
];

describe("code from signed measurements", () => {
  test.each([
    ["a key in a file beside the policy", "release.pem"],
    ["a key by its SHA-256", fingerprint],
  ])("pins every PCR, by %s, and says where they are from", async (_, name) => {
    const platform = await read(tpm2({ release_key: name }));
    expect(platform.pinned(undefined)).toMatchObject({ type: "tpm2", pins: { code: pinned } });
    expect(platform.demands).toEqual([
      `code: as release 1.2.0 was measured: ${join(folder, "measurements.jws")}, signed by the release key ${fingerprint}`,
      `code: pcr4 is ${pcr4}`,
      `code: pcr11 is ${pcr11}`,
      `identity: ak_name is ${akName}`,
    ]);
  });

  test("pins the PCRs of a confidential VM of Azure as well, beside its silicon", async () => {
    const silicon = {
      roots_sha256: ["5a".repeat(32)],
      mrtd: ["5b".repeat(48)],
      tcb_statuses: ["UpToDate"],
      advisories_allowed: [],
      min_tcb_evaluation: 17,
    };
    const { code } = tpm2();
    const platform = await read({ type: "azure-cvm", hardware: "tdx", silicon, code, identity: { vm_id: ["0e"] } });
    expect(platform.pinned(undefined)).toMatchObject({ type: "azure-cvm", pins: { code: pinned } });
    expect(platform.demands.join("\n")).toContain("as release 1.2.0 was measured");
  });
});

describe("is refused:", () => {
  test.each<[string, object, string]>([
    ["a file that is not there", { file: "nowhere.jws" }, "nowhere.jws, which cannot be read: it is not there"],
    ["a folder", { file: "." }, "it is no file"],
    ["a key that is not there", { release_key: "nowhere.pem" }, "nowhere.pem, which cannot be read"],
    ["a key that is none", { release_key: "measurements.jws" }, "which holds no public key in PEM"],
    ["a SHA-256 of another key", { release_key: keyFingerprint(stranger.publicKey) }, "is not signed by that key"],
    ["another release", { releases: ["1.3.0"] }, "names 1.3.0, but"],
    ["no release", { releases: [] }, "releases must not be empty"],
    ["an unknown member", { optional: true }, "code.measurements_from.optional is not known here"],
  ])("%s", async (_, changes, words) => {
    await expect(read(tpm2(changes))).rejects.toMatchObject({
      reason: "POLICY_INVALID",
      exitCode: 78,
      text: expect.stringContaining(words) as string,
    });
  });

  test.each(["file", "release_key", "releases"])("no %s", async (name) => {
    await expect(read(tpm2({ [name]: undefined }))).rejects.toMatchObject({
      text: expect.stringContaining(`platforms[0].code.measurements_from.${name} is missing`) as string,
    });
  });

  test("measurements by another key, and unsigned ones", async () => {
    await sign(measurements, stranger);
    for (const name of ["release.pem", fingerprint]) {
      await expect(read(tpm2({ release_key: name }))).rejects.toThrow(/not signed by (the release|that) key/);
    }
    for (const text of ["", JSON.stringify({ v: 1, ...measurements }), "a.b.c"]) {
      writeFileSync(join(folder, "measurements.jws"), text);
      for (const name of ["release.pem", fingerprint]) {
        await expect(read(tpm2({ release_key: name }))).rejects.toThrow(/not signed by (the release|that) key/);
      }
    }
  });

  test("one changed character of the measurements", async () => {
    const [header, payload = "", signature] = (await signMeasurements(measurements, release.privateKey)).split(".");
    const text = Buffer.from(payload, "base64url").toString().replace(pcr11, "0c".repeat(32));
    const changed = Buffer.from(text).toString("base64url");
    writeFileSync(join(folder, "measurements.jws"), [header, changed, signature].join("."));
    for (const name of ["release.pem", fingerprint]) {
      await expect(read(tpm2({ release_key: name }))).rejects.toThrow(/not signed by (the release|that) key/);
    }
  });

  test("further PCRs beside the file: one of them would decide, and nobody could tell which", async () => {
    await expect(read(tpm2({}, { pcr11: [pcr11] }))).rejects.toThrow("platforms[0].code.pcr11 is not known here");
  });

  test("a release key that others may change", async () => {
    chmodSync(join(folder, "release.pem"), 0o666);
    await expect(read(tpm2())).rejects.toMatchObject({ reason: "POLICY_PERMISSIONS" });
  });

  test("a private key in place of the release key, without a word of it", async () => {
    writeFileSync(join(folder, "release.pem"), release.privateKey.export({ format: "pem", type: "pkcs8" }));
    await expect(read(tpm2())).rejects.toThrow("which holds no public key in PEM");
  });

  test("measurements for evidence that has other registers", async () => {
    const tdx = {
      type: "tdx",
      roots_sha256: ["5a".repeat(32)],
      mrtd: ["5b".repeat(48)],
      tcb_statuses: ["UpToDate"],
      advisories_allowed: [],
      min_tcb_evaluation: 17,
      code: tpm2()["code"],
      identity: { ppid: ["5d".repeat(16)] },
    };
    await expect(read(tdx)).rejects.toThrow("measurements_from is nothing that this kind of evidence has");
  });
});
