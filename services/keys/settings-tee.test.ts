import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { SettingsError } from "@agentkeys/lib/settings";
import { approve, formatApprovals } from "@agentkeys/lib/tpm2";

import { readTeeFlags, readTeeSettings } from "./settings-tee.ts";

const folder = mkdtempSync(join(tmpdir(), "agentkeys-tee-settings-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const least = {
  AGENTKEYS_KEYS_BROKER_URL: "https://broker.example",
  AGENTKEYS_TEE_SIGNER: "signer-1.example",
  AGENTKEYS_TEE_STATE_DIR: "/var/lib/agentkeys",
  AGENTKEYS_TEE_SEAL_PCRS: "11, 4",
};

function problems(changes: Record<string, string | undefined>): readonly string[] {
  try {
    readTeeSettings({ ...least, ...changes });
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe("the TEE worker's settings", () => {
  test("need a broker, a name, a folder, and for which code the master secret opens; production is where it runs", () => {
    expect(readTeeSettings({ ...least, NODE_ENV: "production" })).toEqual({
      listen: { host: "127.0.0.1", port: 8092 },
      broker: { url: "https://broker.example", issuer: "https://broker.example" },
      insecureBroker: false,
      signer: "signer-1.example",
      stateFolder: "/var/lib/agentkeys",
      tpm: { device: "/dev/tpmrm0" },
      rootKey: "memory",
      seal: { by: "tpm2", pcrs: [11, 4] },
      evidence: { by: "tpm2", pcrs: [11, 4] },
      generalMessages: false,
      countEveryMs: 1000,
      logLevel: "info",
    });
  });

  test.each(Object.keys(least))("without %s it does not start", (name) => {
    expect(problems({ [name]: undefined }).join()).toContain(name);
  });

  test.each<[string, Record<string, string>, string]>([
    [
      "a master secret from outside",
      { DEV_KEY_SERVICE_MASTER_SECRET: "00".repeat(32) },
      "DEV_KEY_SERVICE_MASTER_SECRET must not be set",
    ],
    ["a TLS key from outside", { AGENTKEYS_KEYS_TLS_KEY: "key.pem" }, "AGENTKEYS_KEYS_TLS_KEY must not be set"],
    [
      "a sign log of the other kind",
      { AGENTKEYS_KEYS_SIGN_LOG: "sign.log" },
      "AGENTKEYS_KEYS_SIGN_LOG must not be set",
    ],
    ["an unknown setting", { AGENTKEYS_TEE_INSECURE: "1" }, "AGENTKEYS_TEE_INSECURE is not a setting"],
    ["a seal to nothing", { AGENTKEYS_TEE_SEAL_PCRS: "," }, "names no PCR"],
    ["a PCR that is none", { AGENTKEYS_TEE_SEAL_PCRS: "24" }, "AGENTKEYS_TEE_SEAL_PCRS must be a whole number"],
    ["a name that no log can have", { AGENTKEYS_TEE_SIGNER: "a b" }, "AGENTKEYS_TEE_SIGNER must be a name"],
    ["a TPM that is none", { AGENTKEYS_TEE_TPM: "/dev/tpm0" }, "AGENTKEYS_TEE_TPM must be"],
    ["a public URL in cleartext", { AGENTKEYS_KEYS_PUBLIC_URL: "http://keys.example" }, "must begin with https://"],
    [
      "another address without a public URL",
      { AGENTKEYS_KEYS_LISTEN: "0.0.0.0:8092" },
      "AGENTKEYS_KEYS_PUBLIC_URL must be set",
    ],
    [
      "a release key without approvals",
      { AGENTKEYS_TEE_RELEASE_KEY: "nowhere.pem" },
      "AGENTKEYS_TEE_RELEASE_KEY names a file",
    ],
    ["a scrape from elsewhere", { AGENTKEYS_KEYS_METRICS_LISTEN: "0.0.0.0:9464" }, "must be a loopback address"],
    ["unverified TLS", { NODE_TLS_REJECT_UNAUTHORIZED: "0" }, "NODE_TLS_REJECT_UNAUTHORIZED must not be 0"],
    ["general messages by half", { AGENTKEYS_TEE_GENERAL_MESSAGES: "maybe" }, "must be one of yes, no"],
  ])("%s is refused", (_, changes, words) => {
    expect(problems(changes).join("\n")).toContain(words);
  });

  test("may name a backup, and whose shares are kept: files that are there", () => {
    const [backup, custody] = [join(folder, "backup.json"), join(folder, "custody.json")];
    writeFileSync(backup, "{}");
    writeFileSync(custody, "[]");
    expect(readTeeSettings({ ...least, AGENTKEYS_TEE_BACKUP: backup, AGENTKEYS_TEE_CUSTODY: custody })).toMatchObject({
      backup: { path: backup, text: "{}" },
      custody: { path: custody, text: "[]" },
    });
    expect(problems({ AGENTKEYS_TEE_BACKUP: join(folder, "nowhere") })).toEqual([
      expect.stringContaining("AGENTKEYS_TEE_BACKUP names a file that cannot be read"),
    ]);
  });

  test("a release key comes with its approvals, and not beside exact PCRs", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const [key, approvals] = [join(folder, "key.pem"), join(folder, "approvals.json")];
    writeFileSync(key, publicKey.export({ format: "pem", type: "spki" }));
    const approved = { release: "1.0", securityVersion: 0, pcrs: new Map([[11, Buffer.alloc(32, 1)]]) };
    writeFileSync(approvals, formatApprovals([approve(approved, privateKey)]));
    const released = { AGENTKEYS_TEE_RELEASE_KEY: key, AGENTKEYS_TEE_APPROVALS: approvals };
    const settings = readTeeSettings({ ...least, ...released, AGENTKEYS_TEE_SEAL_PCRS: "" });
    expect(settings).toMatchObject({ seal: { approvals: [{ release: "1.0" }] }, evidence: { pcrs: [11] } });
    expect(problems(released).join()).toContain("and not both");
    expect(problems({ ...released, AGENTKEYS_TEE_APPROVALS: "", AGENTKEYS_TEE_SEAL_PCRS: "" }).join()).toContain(
      "together",
    );
    const [nextKey, nextReleased] = [join(folder, "next.pem"), { ...released, AGENTKEYS_TEE_NEXT_RELEASE_KEY: "" }];
    const { publicKey: nextPublic } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    writeFileSync(nextKey, nextPublic.export({ format: "pem", type: "spki" }));
    nextReleased.AGENTKEYS_TEE_NEXT_RELEASE_KEY = nextKey;
    const sealedAnew = { approvals: [{ release: "1.0" }] };
    expect(readTeeSettings({ ...least, ...nextReleased, AGENTKEYS_TEE_SEAL_PCRS: "" }).seal).toMatchObject({
      ...sealedAnew,
      next: sealedAnew,
    });
    expect(readTeeSettings({ ...least, ...nextReleased, AGENTKEYS_TEE_RELEASE_KEY: "" }).seal).toMatchObject({
      pcrs: [11, 4],
      next: sealedAnew,
    });
    const alone = { ...nextReleased, AGENTKEYS_TEE_SEAL_PCRS: "" };
    expect(problems({ ...alone, AGENTKEYS_TEE_NEXT_RELEASE_KEY: key }).join()).toContain("nothing to seal anew");
    expect(problems({ ...alone, AGENTKEYS_TEE_RELEASE_KEY: "" }).join()).toContain(
      "one of AGENTKEYS_TEE_SEAL_PCRS and",
    );
    expect(problems({ ...alone, AGENTKEYS_TEE_APPROVALS: "" }).join()).toContain("together");
    expect(problems({ ...alone, AGENTKEYS_TEE_ROOT_KEY: "tpm" }).join()).toContain(
      "a root key that never leaves the TPM cannot be sealed anew",
    );
    writeFileSync(approvals, "{}");
    expect(problems({ ...released, AGENTKEYS_TEE_SEAL_PCRS: "" }).join()).toContain(
      "AGENTKEYS_TEE_APPROVALS names a file",
    );
  });
});

describe("the way to the broker", () => {
  const cleartext = { AGENTKEYS_KEYS_BROKER_URL: "http://broker:8091" };
  const allowed = { AGENTKEYS_TEE_INSECURE_BROKER: "development" };

  test.each(["http://127.0.0.1:8091", "http://[::1]:8091", "http://localhost:8091", "https://broker.example"])(
    "%s is taken",
    (url) => {
      expect(readTeeSettings({ ...least, AGENTKEYS_KEYS_BROKER_URL: url })).toMatchObject({ insecureBroker: false });
    },
  );

  test.each(["http://broker:8091", "http://10.0.0.7", "http://broker.example", "http://127.0.0.1.example"])(
    "%s is refused",
    (url) => {
      expect(problems({ AGENTKEYS_KEYS_BROKER_URL: url })).toEqual([
        expect.stringContaining("AGENTKEYS_KEYS_BROKER_URL must begin with https://, except on loopback"),
      ]);
    },
  );

  test("is cleartext only where somebody says that it is for development, and never in production", () => {
    expect(readTeeSettings({ ...least, ...cleartext, ...allowed })).toMatchObject({ insecureBroker: true });
    expect(problems({ ...cleartext, ...allowed, NODE_ENV: "production" })).toEqual([
      "AGENTKEYS_TEE_INSECURE_BROKER is for development, and NODE_ENV is production",
    ]);
    expect(problems({ ...cleartext, AGENTKEYS_TEE_INSECURE_BROKER: "yes" }).join()).toContain("must be one of");
    expect(problems(allowed).join()).toContain("is of no use");
  });
});

describe("the machine", () => {
  const arn = "arn:aws:kms:eu-central-1:123456789012:key/7b0c2f5e-0d4d-4b43-9c40-2e4b2a0f8f11";
  const program = "/usr/bin/nitro-tpm-attest";
  const enclave = {
    AGENTKEYS_TEE_TPM: "none",
    AGENTKEYS_TEE_SEAL_PCRS: undefined,
    AGENTKEYS_TEE_SEALER: "aws-kms",
    AGENTKEYS_TEE_KMS_KEY: arn,
    AGENTKEYS_TEE_EVIDENCE: "aws-nitro",
    AGENTKEYS_TEE_ATTEST_PROGRAM: program,
  };
  const tdx = { AGENTKEYS_TEE_EVIDENCE: "configfs-tsm", AGENTKEYS_TEE_ENDORSEMENTS: "/var/lib/collateral.json" };

  test("may be a Nitro enclave, without a TPM and sealed by KMS", () => {
    expect(readTeeSettings({ ...least, ...enclave, NODE_ENV: "production" })).toMatchObject({
      tpm: "none",
      rootKey: "memory",
      seal: { by: "aws-kms", key: { arn, region: "eu-central-1" }, program },
      evidence: { by: "aws-nitro", program },
    });
  });

  test("may be a confidential machine with a TPM beside", () => {
    expect(readTeeSettings({ ...least, ...tdx })).toMatchObject({
      seal: { by: "tpm2", pcrs: [11, 4] },
      evidence: { by: "configfs-tsm", endorsements: "/var/lib/collateral.json" },
    });
    expect(readTeeSettings({ ...least, AGENTKEYS_TEE_EVIDENCE: "azure-cvm" })).toMatchObject({
      evidence: { by: "azure-cvm", pcrs: [11, 4] },
    });
  });

  test("may be none at all, for development", () => {
    const soft = { AGENTKEYS_TEE_EVIDENCE: "soft", AGENTKEYS_TEE_SOFT_SIGNER: "issuer.json" };
    expect(readTeeSettings({ ...least, ...soft })).toMatchObject({
      evidence: { by: "soft", issuerFile: "issuer.json" },
    });
    expect(problems({ ...soft, NODE_ENV: "production" })).toEqual([
      expect.stringContaining("it is for development, and NODE_ENV is production"),
    ]);
    expect(problems({ AGENTKEYS_TEE_EVIDENCE: "soft" }).join()).toContain("AGENTKEYS_TEE_SOFT_SIGNER must be set");
  });

  test.each<[string, Record<string, string | undefined>, string]>([
    ["no TPM to seal in", { AGENTKEYS_TEE_TPM: "none" }, "without a TPM only aws-kms can seal"],
    ["no TPM to quote", { ...enclave, AGENTKEYS_TEE_EVIDENCE: "tpm2" }, "tpm2, which a TPM gives"],
    ["a key in no TPM", { ...enclave, AGENTKEYS_TEE_ROOT_KEY: "tpm" }, "AGENTKEYS_TEE_ROOT_KEY is tpm"],
    ["no key of KMS", { ...enclave, AGENTKEYS_TEE_KMS_KEY: undefined }, "AGENTKEYS_TEE_KMS_KEY must be set"],
    ["an alias", { ...enclave, AGENTKEYS_TEE_KMS_KEY: arn.replace("key/", "alias/") }, "must be the ARN of a key"],
    ["a key of no use", { AGENTKEYS_TEE_KMS_KEY: arn }, "AGENTKEYS_TEE_KMS_KEY is of use only where"],
    ["no program", { ...enclave, AGENTKEYS_TEE_ATTEST_PROGRAM: undefined }, "AGENTKEYS_TEE_ATTEST_PROGRAM must be set"],
    ["a program by its name", { ...enclave, AGENTKEYS_TEE_ATTEST_PROGRAM: "attest" }, "must be an absolute path"],
    ["a program of no use", { AGENTKEYS_TEE_ATTEST_PROGRAM: program }, "AGENTKEYS_TEE_ATTEST_PROGRAM is of use only"],
    ["PCRs for KMS", { ...enclave, AGENTKEYS_TEE_SEAL_PCRS: "11" }, "AGENTKEYS_TEE_SEAL_PCRS is of use only where"],
    [
      "PCRs that nobody quotes",
      { ...tdx, AGENTKEYS_TEE_QUOTED_PCRS: "11" },
      "AGENTKEYS_TEE_QUOTED_PCRS is of use only",
    ],
    [
      "a quote of nothing",
      { ...enclave, AGENTKEYS_TEE_TPM: undefined, AGENTKEYS_TEE_EVIDENCE: "tpm2" },
      "AGENTKEYS_TEE_QUOTED_PCRS must be set",
    ],
    ["a quote of no PCR", { AGENTKEYS_TEE_QUOTED_PCRS: "," }, "AGENTKEYS_TEE_QUOTED_PCRS"],
    ["a seal to what anybody resets", { AGENTKEYS_TEE_SEAL_PCRS: "16,23" }, "can put back to zero"],
    ["issuers that are none", { AGENTKEYS_TEE_EK_ISSUERS: import.meta.filename }, "holds no certificates in PEM"],
    ["collateral of no use", { AGENTKEYS_TEE_ENDORSEMENTS: "/c.json" }, "AGENTKEYS_TEE_ENDORSEMENTS is of use only"],
    [
      "KMS for another cloud",
      { ...enclave, AGENTKEYS_TEE_TPM: undefined, AGENTKEYS_TEE_EVIDENCE: "azure-cvm" },
      "documents of AWS's hypervisor only",
    ],
    ["an issuer of no use", { AGENTKEYS_TEE_SOFT_SIGNER: "issuer.json" }, "AGENTKEYS_TEE_SOFT_SIGNER is of use only"],
  ])("%s is refused", (_, changes, words) => {
    expect(problems(changes).join("\n")).toContain(words);
  });
});

describe("the command line", () => {
  test("says what a person says once", () => {
    expect(readTeeFlags([])).toEqual({ allowGenesis: false });
    expect(readTeeFlags(["--allow-genesis", "--accept-rollback=7", "--retire-releases-before=3"])).toEqual({
      allowGenesis: true,
      acceptRollback: 7n,
      retireReleasesBefore: 3,
    });
    expect(readTeeFlags(["--recover=/disk/recovery-ticket"])).toEqual({
      allowGenesis: false,
      recoveryTicket: "/disk/recovery-ticket",
    });
    expect(() => readTeeFlags(["--recover=ticket", "--allow-genesis"])).toThrow("say one of them");
  });

  test.each([
    ["--allow"],
    ["--accept-rollback=all"],
    ["--accept-rollback"],
    ["--retire-releases-before=all"],
    ["genesis"],
  ])("%s is refused", (argument) => {
    expect(() => readTeeFlags([argument])).toThrow(SettingsError);
  });
});
