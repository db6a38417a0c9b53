import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { signMeasurements } from "@agentkeys/lib/evidence/measurements";
import { keyFingerprint } from "@agentkeys/lib/evidence/release-key";

import {
  type AttestedService,
  createTestHardware,
  IMAGE,
  LOG_KEY,
  OWNER,
  policyFor,
  startAttestedService,
} from "../testing/attested-service.ts";
import { type Outcome, runInside } from "../testing/terminal.ts";

const NOW = Date.UTC(2030, 0, 1);
const clock = (): number => NOW;
const hardware = createTestHardware(NOW);
const base = mkdtempSync(join(tmpdir(), "agentkeys-attest-"));
const policyFile = join(base, "policy.json");
let lie = false;
let minSecurityVersion: number | undefined;
let service: AttestedService;
beforeAll(async () => {
  service = await startAttestedService({
    ...{ clock, hardware },
    claims: (claims) => ({
      ...claims,
      ...(lie && { settings: { general_messages: true }, signerVersion: "\u001b[31m" }),
      ...(minSecurityVersion !== undefined && { minSecurityVersion }),
    }),
  });
});
afterAll(async () => {
  await service.close();
  rmSync(base, { recursive: true, force: true });
});
beforeEach(() => {
  lie = false;
  minSecurityVersion = undefined;
  service.log.entries.length = 0;
  for (const name of ["state", "new.json", "policy.json"]) rmSync(join(base, name), { recursive: true, force: true });
  writeFileSync(policyFile, policyFor(hardware), { mode: 0o600 });
});

function agentkeys(argv: string[], env: Record<string, string> = {}, policy = policyFile): Promise<Outcome> {
  return runInside(argv, {
    clock,
    env: {
      AGENTKEYS_KEYS_URL: service.url,
      AGENTKEYS_STATE_DIR: join(base, "state"),
      ...(policy !== NO_POLICY && { AGENTKEYS_ATTESTATION_POLICY: policy }),
      ...env,
    },
  });
}
const NO_POLICY = "none";

const json = ({ stdout }: Outcome): Record<string, unknown> => JSON.parse(stdout) as Record<string, unknown>;

test("an empty name of a policy is no way to have none", async () => {
  for (const command of [
    ["attest", "verify"],
    ["creds"],
    ["whoami"],
    ["attest", "enroll", "--output", join(base, "new.json")],
  ]) {
    const outcome = await agentkeys(command, {}, "");
    expect(outcome.code, command.join(" ")).toBe(78);
    expect(outcome.stderr).toContain("AGENTKEYS_ATTESTATION_POLICY is empty");
  }
});

describe("attest verify", () => {
  test("shows every check, and ends with 0 where all hold", async () => {
    service.log.entries.push(Buffer.from("a"));
    const outcome = await agentkeys(["attest", "verify"]);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    for (const name of [
      "claims",
      "nonce",
      "connection key",
      "connection",
      "age",
      "identity key",
      "settings",
      "sign log",
    ]) {
      expect(outcome.stdout).toMatch(new RegExp(`^pass  ${name} `, "m"));
    }
    expect(outcome.stdout).toMatch(new RegExp(`^pass  evidence +aws-nitro: pcr0 ${IMAGE}`, "m"));
    expect(outcome.stdout).toMatch(/^pass {2}continuation +of what this machine saw before; entries: 1$/m);
    expect(outcome.stdout).toContain("is what the policy demands");
  });

  test("says in JSON what differs, and still looks at everything else", async () => {
    lie = true;
    const outcome = await agentkeys(["attest", "verify", "--json"]);
    expect(outcome.code).toBe(1);
    const { verified, checks } = json(outcome);
    expect(verified).toBe(false);
    expect(checks).toContainEqual(expect.objectContaining({ check: "claims", passed: false, code: "MALFORMED" }));
    expect(checks).toContainEqual(expect.objectContaining({ check: "evidence", passed: true }));
  });

  test("names a setting that differs", async () => {
    writeFileSync(policyFile, policyFor(hardware, { settings: { general_messages: true } }), { mode: 0o600 });
    const outcome = await agentkeys(["attest", "verify"]);
    expect(outcome.code).toBe(1);
    expect(outcome.stdout).toMatch(/^FAIL {2}settings +settings: general_messages is false, expected true$/m);
    expect(outcome.stdout).toContain("is NOT what the policy demands");
  });

  test("names releases that ought to be retired, and those of a seal that says nothing of them", async () => {
    const demanded = { min_security_version: 3 };
    writeFileSync(policyFile, policyFor(hardware, demanded), { mode: 0o600 });
    for (const [found, words] of [
      [3, /^pass {2}releases +min_security_version is 3$/m],
      [2, /^FAIL {2}releases +min_security_version is 2, expected 3 or more/m],
      [undefined, /^FAIL {2}releases +min_security_version is not there, expected 3 or more/m],
    ] as const) {
      minSecurityVersion = found;
      const outcome = await agentkeys(["attest", "verify"]);
      expect(outcome.stdout).toMatch(words);
      expect(outcome.code).toBe(found === 3 ? 0 : 1);
    }
    const explained = await agentkeys(["attest", "explain"]);
    expect(explained.stdout).toContain("releases of security version 3 and later only");
  });

  test("notices a log that was put back", async () => {
    service.log.entries.push(Buffer.from("a"), Buffer.from("b"));
    await agentkeys(["attest", "verify"]);
    service.log.entries.pop();
    const outcome = await agentkeys(["attest", "verify", "--json"]);
    expect(outcome.code).toBe(1);
    expect(json(outcome)["checks"]).toContainEqual(
      expect.objectContaining({ check: "continuation", code: "SIGN_LOG_ROLLED_BACK" }),
    );
  });

  test("needs a policy", async () => {
    const outcome = await agentkeys(["attest", "verify"], {}, NO_POLICY);
    expect(outcome).toMatchObject({ code: 78, stdout: "" });
    expect(outcome.stderr).toContain("agentkeys attest enroll --output");
  });

  test("tells of a key service that is not there", async () => {
    const outcome = await agentkeys(["attest", "verify", "--json"], { AGENTKEYS_KEYS_URL: "https://127.0.0.1:1" });
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain("KEYS_UNREACHABLE");
  });
});

describe("attest enroll", () => {
  const file = join(base, "new.json");
  const roots = ["--root-sha256", hardware.rootSha256];

  test("writes a policy of what is there, which then holds", async () => {
    const outcome = await agentkeys(["attest", "enroll", "--output", file, ...roots]);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(outcome.stdout).toContain("REVIEW IT");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
      signer: "signer-1.example",
      settings: { general_messages: false },
      log: { vkey: LOG_KEY },
      platforms: [{ type: "aws-nitro", source: "enclave", code: { pcr0: [IMAGE] }, identity: { pcr3: [OWNER] } }],
    });
    const verified = await agentkeys(["attest", "verify"], { AGENTKEYS_ATTESTATION_POLICY: file });
    expect(verified.code).toBe(0);
  });

  test("writes down which releases are retired, where the key service says so", async () => {
    minSecurityVersion = 4;
    await agentkeys(["attest", "enroll", "--output", file, ...roots]);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ min_security_version: 4 });
  });

  test("writes where the setting says", async () => {
    const outcome = await agentkeys(["attest", "enroll", "--json", ...roots], { AGENTKEYS_ATTESTATION_POLICY: file });
    expect(json(outcome)).toMatchObject({ policy_file: file, policy: { version: 1 } });
  });

  test("never overwrites", async () => {
    const before = readFileSync(policyFile, "utf8");
    const outcome = await agentkeys(["attest", "enroll", ...roots]);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain("never overwritten");
    expect(readFileSync(policyFile, "utf8")).toBe(before);
  });

  test("writes nothing for hardware that leads to no known root", async () => {
    const outcome = await agentkeys(["attest", "enroll", "--output", file, "--json"]);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain("ATTESTATION_ROOT");
    expect(() => readFileSync(file)).toThrow();
  });

  test("wants a root's whole fingerprint", async () => {
    expect((await agentkeys(["attest", "enroll", "--output", file, "--root-sha256", "64"])).code).toBe(2);
  });

  test("attests no cleartext", async () => {
    const env = { AGENTKEYS_KEYS_URL: "http://127.0.0.1:1" };
    const outcome = await agentkeys(["attest", "enroll", "--output", file], env, NO_POLICY);
    expect(outcome.code).toBe(78);
    expect(outcome.stderr).toContain("only a TLS connection can be attested");
  });
});

describe("attest explain", () => {
  test("says what is demanded, and what that protects", async () => {
    const outcome = await agentkeys(["attest", "explain"]);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    for (const text of [
      IMAGE,
      OWNER,
      LOG_KEY,
      "general_messages",
      hardware.rootSha256,
      "15 min",
      "AWS itself is trusted",
    ]) {
      expect(outcome.stdout).toContain(text);
    }
    expect(json(await agentkeys(["attest", "explain", "--json"]))).toMatchObject({
      signer: "signer-1.example",
      platforms: [{ type: "aws-nitro" }],
    });
  });

  test("says which values are from a build's signed measurements", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const measured = { release: "1.2.0", pcrs: { 11: "0b".repeat(32) }, digests: {} };
    writeFileSync(join(base, "measurements.jws"), await signMeasurements(measured, privateKey));
    const releaseKey = keyFingerprint(publicKey);
    const from = { file: "measurements.jws", release_key: releaseKey, releases: ["1.2.0"] };
    const platform = {
      type: "tpm2",
      code: { measurements_from: from },
      identity: { ak_name: [`000b${"5a".repeat(32)}`] },
    };
    writeFileSync(policyFile, policyFor(hardware, { platforms: [platform] }), { mode: 0o600 });
    const outcome = await agentkeys(["attest", "explain"]);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(outcome.stdout).toContain(
      `code: as release 1.2.0 was measured: ${join(base, "measurements.jws")}, signed by the release key ${releaseKey}`,
    );
    expect(outcome.stdout).toContain(`code: pcr11 is ${"0b".repeat(32)}`);

    rmSync(join(base, "measurements.jws"));
    const refused = await agentkeys(["attest", "verify"]);
    expect(refused.code).toBe(78);
    expect(refused.stderr).toContain("measurements.jws, which cannot be read: it is not there");
  });

  test("tells what is wrong with a policy", async () => {
    writeFileSync(policyFile, policyFor(hardware, { ignore: true }), { mode: 0o600 });
    const outcome = await agentkeys(["attest", "explain"]);
    expect(outcome.code).toBe(78);
    expect(outcome.stderr).toContain("ignore is not known here");
  });
});
