import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { LOG_KEY, policyFor } from "../testing/attested-service.ts";
import { parsePolicy, readPolicyFile } from "./policy.ts";

const hardware = { rootSha256: "64".repeat(32) };
const whole = JSON.parse(policyFor(hardware)) as Record<string, unknown> & { platforms: Record<string, unknown>[] };
const folder = mkdtempSync(join(tmpdir(), "agentkeys-policy-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a policy is read, seconds as milliseconds", () => {
  expect(parsePolicy(JSON.stringify(whole))).toMatchObject({
    signer: "signer-1.example",
    channel: "tls-exporter",
    maxEvidenceAgeMs: 60_000,
    reattestAfterMs: 900_000,
    clockSkewMs: 30_000,
    settings: { general_messages: false },
    logKey: LOG_KEY,
    platforms: [{ type: "aws-nitro" }],
  });
});

test("a policy may demand that releases were retired", () => {
  const text = (version: unknown): string => policyFor(hardware, { min_security_version: version });
  expect(parsePolicy(text(3))).toMatchObject({ minSecurityVersion: 3 });
  expect(parsePolicy(policyFor(hardware))).not.toHaveProperty("minSecurityVersion");
  for (const wrong of ["3", -1, 1.5, null]) expect(() => parsePolicy(text(wrong))).toThrow("min_security_version");
});

describe("every member has to be there", () => {
  test.each(Object.keys(whole))("%s", (name) => {
    const rest: Record<string, unknown> = { ...whole };
    Reflect.deleteProperty(rest, name);
    expect(() => parsePolicy(JSON.stringify(rest))).toThrow(new RegExp(`${name} (is missing|must be 1)`));
  });

  test.each(["type", "source", "roots_sha256", "code", "identity"])("platforms[0].%s", (name) => {
    const platform = { ...whole.platforms[0] };
    Reflect.deleteProperty(platform, name);
    expect(() => parsePolicy(policyFor(hardware, { platforms: [platform] }))).toThrow(`platforms[0].${name}`);
  });
});

describe("each kind of hardware", () => {
  const [sha256, sha384] = ["5a".repeat(32), "5b".repeat(48)];
  const tcb = { fmc: 0, bootloader: 3, tee: 0, snp: 8, microcode: 115 };
  const snp = {
    roots_sha256: [sha256],
    measurements: [sha384],
    min_tcb: tcb,
    vmpl: 0,
    guest_may: ["smt"],
    platform_must: ["alias_check", "ecc"],
    revocation: { authorities_sha256: [sha256] },
    accept_known_broken: ["arxiv:2605.12990"],
  };
  const tdx = {
    roots_sha256: [sha256],
    mrtd: [sha384],
    tcb_statuses: ["UpToDate", "SWHardeningNeeded"],
    advisories_allowed: ["INTEL-SA-00837"],
    min_tcb_evaluation: 17,
  };
  const kinds: Record<string, object> = {
    tpm2: { type: "tpm2", code: { pcr11: [sha256], pcr4: [sha256] }, identity: { ak_name: [`000b${sha256}`] } },
    "tpm2 by endorsement key": { type: "tpm2", code: { pcr11: [sha256] }, identity: { ek_key: [sha256] } },
    "tpm2 by maker": { type: "tpm2", code: { pcr4: [sha256], pcr11: [sha256] }, identity: { ek_root: [sha256] } },
    "sev-snp": { type: "sev-snp", ...snp, identity: { chip_id: ["5c".repeat(64)], host_data: [sha256] } },
    tdx: { type: "tdx", ...tdx, code: { rtmr1: [sha384] }, identity: { ppid: ["5d".repeat(16)] } },
    "azure-cvm": {
      type: "azure-cvm",
      hardware: "sev-snp",
      silicon: snp,
      code: { pcr4: [sha256], pcr11: [sha256] },
      identity: { vm_id: ["0e0e"] },
    },
    "azure-cvm on tdx": {
      type: "azure-cvm",
      hardware: "tdx",
      silicon: tdx,
      code: { pcr11: [sha256] },
      identity: { ak_key: [sha256] },
    },
    soft: {
      type: "soft",
      development: true,
      roots_sha256: [sha256],
      code: { program: ["v1"] },
      identity: { name: ["x"] },
    },
  };
  const read = (platform: object) => parsePolicy(policyFor(hardware, { platforms: [platform] })).platforms[0];

  test.each(Object.entries(kinds))("%s is read, and says in words what it demands", (_, platform) => {
    const { type, demands } = read(platform);
    expect(platform).toMatchObject({ type });
    expect(demands.length).toBeGreaterThan(1);
  });

  test.each(Object.entries(kinds))("%s leaves no member out", (_, platform) => {
    for (const name of Object.keys(platform)) {
      const rest = { ...platform } as Record<string, unknown>;
      Reflect.deleteProperty(rest, name);
      expect(() => read(rest), name).toThrow(`platforms[0].${name}`);
    }
    expect(() => read({ ...platform, skip: true })).toThrow("platforms[0].skip is not known here");
  });

  test("a TPM is pinned by one thing, and by its endorsement key only after it was challenged", () => {
    const both = { ...kinds["tpm2"], identity: { ak_name: [`000b${sha256}`], ek_key: [sha256] } };
    expect(() => read(both)).toThrow("cannot be pinned beside");
    expect(read(kinds["tpm2"] ?? {}).needsActivation).toBe(false);
    const byEk = read(kinds["tpm2 by endorsement key"] ?? {});
    expect(byEk.needsActivation).toBe(true);
    expect(() => byEk.pinned(undefined)).toThrow("it was not proven");
  });

  test("a TPM that is pinned by its maker alone has to show what its firmware started", () => {
    const byMaker = { ...kinds["tpm2 by maker"], code: { pcr0: [sha256], pcr7: [sha256], pcr11: [sha256] } };
    expect(() => read(byMaker)).toThrow("platforms[0].code must pin pcr4 where ek_root is pinned");
    expect(read({ ...byMaker, identity: { ek_key: [sha256] } }).type).toBe("tpm2");
  });

  test("an enclave's owner is in the registers that AWS fills, an instance's in its id alone", () => {
    const nitro = (source: string, identity: object): object => ({ ...whole.platforms[0], source, identity });
    for (const name of ["pcr3", "pcr4", "pcr8"]) {
      expect(read(nitro("enclave", { [name]: [sha384] })).type).toBe("aws-nitro");
    }
    expect(read(nitro("enclave", { module_id: ["i-0-enc0"] })).type).toBe("aws-nitro");
    expect(read(nitro("nitrotpm", { module_id: ["i-0"] })).type).toBe("aws-nitro");
    for (const [source, name] of [
      ["enclave", "pcr0"],
      ["enclave", "pcr16"],
      ["nitrotpm", "pcr3"],
      ["nitrotpm", "pcr11"],
    ] as const) {
      expect(() => read(nitro(source, { [name]: [sha384] }))).toThrow(`platforms[0].identity.${name} is nothing that`);
    }
  });

  test("a VM of Azure that is pinned by its id alone has to show what its firmware started", () => {
    const byId = { ...kinds["azure-cvm"], code: { pcr7: [sha256], pcr11: [sha256] } };
    expect(() => read(byId)).toThrow("platforms[0].code must pin pcr4 where ak_key is not pinned");
    const byKey = { vm_id: ["0e0e"], ak_key: [sha256] };
    expect(read({ ...byId, identity: byKey }).type).toBe("azure-cvm");
  });

  test("a TDX guest has to show what its firmware started", () => {
    for (const code of [
      { rtmr2: [sha384] },
      { rtmr3: [sha384] },
      { rtmr0: [sha384], rtmr2: [sha384], rtmr3: [sha384] },
    ]) {
      expect(() => read({ ...kinds["tdx"], code })).toThrow("platforms[0].code must pin rtmr1");
    }
    expect(read({ ...kinds["tdx"], code: { rtmr1: [sha384], rtmr3: [sha384] } }).type).toBe("tdx");
  });

  test("no hardware at all says that it is for development", () => {
    expect(() => read({ ...kinds["soft"], development: false })).toThrow("platforms[0].development must be true");
  });

  test("broken platforms, and what their guests' policies permit, are named in words", () => {
    const demands = read(kinds["sev-snp"] ?? {}).demands.join();
    expect(demands).toContain("ACCEPTED although it is broken: arxiv:2605.12990");
    expect(demands).toContain("ACCEPTED that the guest's policy permits SMT");
    expect(demands).toContain("a platform that is alias_check, ecc");
    expect(() => read({ ...kinds["sev-snp"], platform_must: ["safe"] })).toThrow("platforms[0].platform_must[0]");
    expect(demands).toContain("AMD's authority is the pinned one; if AMD revokes it, take it out");
  });

  test("below a confidential VM of Azure only the paravisor counts", () => {
    expect(() => read({ ...kinds["azure-cvm"], silicon: { ...snp, vmpl: 1 } })).toThrow(
      "platforms[0].silicon.vmpl must be 0 below azure-cvm",
    );
  });

  test("a SEV-SNP guest may be permitted some things by their names, and debugging never", () => {
    for (const guest_may of [["debug"], ["migration"], ["*"], [1], "smt", { smt: true }]) {
      expect(() => read({ ...kinds["sev-snp"], guest_may })).toThrow(/platforms\[0\]\.guest_may/);
    }
    expect(read({ ...kinds["sev-snp"], guest_may: [] }).demands.join()).not.toContain("permits");
  });
});

describe("is refused by its place:", () => {
  const platform = (changes: object): object => ({ platforms: [{ ...whole.platforms[0], ...changes }] });
  test.each<[string, object, string]>([
    ["an unknown member", { ignore: ["evidence"] }, "ignore is not known here"],
    ["an unknown member of a platform", platform({ insecure: true }), "platforms[0].insecure is not known here"],
    ["an unknown member of the log", { log: { vkey: LOG_KEY, min_witnesses: 0 } }, "log.min_witnesses is not known"],
    ["another version", { version: 2 }, "version must be 1"],
    ["another channel", { channel: "hpke" }, 'channel must be "tls-exporter"'],
    ["no channel", { channel: "none" }, 'channel must be "tls-exporter"'],
    ["no platforms", { platforms: [] }, "platforms must not be empty"],
    ["an unknown platform", { platforms: [{ type: "sgx" }] }, "platforms[0].type must be"],
    ["no identity keys", { identity_keys: [] }, "identity_keys must not be empty"],
    ["an identity key that is none", { identity_keys: ["ed25519:00"] }, "identity_keys[0] must be ed25519:"],
    ["no roots", platform({ roots_sha256: [] }), "platforms[0].roots_sha256 must not be empty"],
    ["a root that is none", platform({ roots_sha256: ["AB".repeat(32)] }), "platforms[0].roots_sha256[0] must be"],
    ["no code", platform({ code: {} }), "platforms[0].code"],
    ["no value of the code", platform({ code: { pcr0: [] } }), "platforms[0].code.pcr0 must not be empty"],
    ["a value that is none", platform({ code: { pcr0: ["00"] } }), "platforms[0].code.pcr0[0] must be"],
    ["a PCR that is none", platform({ code: { pcr24: ["00".repeat(48)] } }), "platforms[0].code.pcr24"],
    ["no identity", platform({ identity: {} }), "platforms[0].identity"],
    ["no age", { max_evidence_age_s: 0 }, "max_evidence_age_s must be a whole number from 1 to 3600"],
    ["an endless age", { max_evidence_age_s: 1e9 }, "max_evidence_age_s must be"],
    ["never again", { reattest_every_s: 1e9 }, "reattest_every_s must be"],
    ["a setting that is an object", { settings: { a: {} } }, "settings.a must be"],
    ["a log of another name", { signer: "signer-2.example" }, "log.vkey must be named as signer is"],
    [
      "a log key whose id is wrong",
      { log: { vkey: LOG_KEY.replace(/\+[0-9a-f]{8}\+/, "+00000000+") } },
      "log.vkey must be a",
    ],
  ])("%s", (_, changes, words) => {
    expect(() => parsePolicy(policyFor(hardware, changes))).toThrow(words);
  });

  test("a member given twice: one reader may see the first, and another the last", () => {
    const text = JSON.stringify(whole);
    const twice = (from: string, to: string): string => {
      expect(text).toContain(from);
      return text.replace(from, to);
    };
    expect(() => parsePolicy(twice('"version":1', '"version":1,"version":1'))).toThrow("version is there twice");
    expect(() => parsePolicy(twice('"settings":{', '"settings":{"general_messages":true,'))).toThrow(
      "settings.general_messages is there twice",
    );
    expect(() => parsePolicy(twice('"code":{', '"code":{"pcr\\u0030":[],'))).toThrow(
      "platforms[0].code.pcr0 is there twice",
    );
    // The same word elsewhere, or as text, is no second one.
    const again = { general_messages: false, note: '"general_messages":{"a":1', list: ["note", "note", ":", "{"] };
    expect(parsePolicy(policyFor(hardware, { settings: again })).settings).toEqual(again);
  });

  test("what is no JSON, or no object", () => {
    expect(() => parsePolicy("{")).toThrow("it is no JSON");
    expect(() => parsePolicy("[]")).toThrow("must be an object");
  });
});

describe("the file", () => {
  const file = join(folder, "policy.json");

  test("may not stand where anybody can put another in its place, nor be reached by a link from there", async () => {
    const open = join(folder, "open");
    mkdirSync(open);
    const inside = join(open, "policy.json");
    writeFileSync(inside, JSON.stringify(whole), { mode: 0o600 });
    chmodSync(open, 0o777);
    await expect(readPolicyFile(inside)).rejects.toMatchObject({ reason: "POLICY_PERMISSIONS", exitCode: 78 });
    const link = join(open, "link.json");
    writeFileSync(file, JSON.stringify(whole), { mode: 0o600 });
    symlinkSync(file, link);
    await expect(readPolicyFile(link)).rejects.toMatchObject({ reason: "POLICY_PERMISSIONS" });
    symlinkSync(inside, join(folder, "inward.json"));
    await expect(readPolicyFile(join(folder, "inward.json"))).rejects.toMatchObject({ reason: "POLICY_PERMISSIONS" });
    // As /tmp is: everybody may make files there, and remove their own only.
    chmodSync(open, 0o1777);
    expect((await readPolicyFile(link)).signer).toBe("signer-1.example");
  });

  test("may not be changed by anybody else", async () => {
    writeFileSync(file, JSON.stringify(whole));
    for (const mode of [0o620, 0o602, 0o666]) {
      chmodSync(file, mode);
      await expect(readPolicyFile(file)).rejects.toMatchObject({ reason: "POLICY_PERMISSIONS", exitCode: 78 });
    }
    chmodSync(file, 0o644);
    expect((await readPolicyFile(file)).signer).toBe("signer-1.example");
  });

  test.each([join(folder, "nowhere.json"), folder])("%s is no policy", async (path) => {
    await expect(readPolicyFile(path)).rejects.toMatchObject({ reason: "POLICY_UNREADABLE", exitCode: 78 });
  });
});
