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
      signer: "signer-1.example",
      stateFolder: "/var/lib/agentkeys",
      tpm: { device: "/dev/tpmrm0" },
      rootKey: "memory",
      seal: { pcrs: [11, 4] },
      quotedPcrs: [11, 4],
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
    ["general messages by half", { AGENTKEYS_TEE_GENERAL_MESSAGES: "maybe" }, "must be one of yes, no"],
  ])("%s is refused", (_, changes, words) => {
    expect(problems(changes).join("\n")).toContain(words);
  });

  test("a release key comes with its approvals, and not beside exact PCRs", () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const [key, approvals] = [join(folder, "key.pem"), join(folder, "approvals.json")];
    writeFileSync(key, publicKey.export({ format: "pem", type: "spki" }));
    writeFileSync(approvals, formatApprovals([approve("1.0", new Map([[11, Buffer.alloc(32, 1)]]), privateKey)]));
    const released = { AGENTKEYS_TEE_RELEASE_KEY: key, AGENTKEYS_TEE_APPROVALS: approvals };
    const settings = readTeeSettings({ ...least, ...released, AGENTKEYS_TEE_SEAL_PCRS: "" });
    expect(settings).toMatchObject({ seal: { approvals: [{ release: "1.0" }] }, quotedPcrs: [11] });
    expect(problems(released).join()).toContain("and not both");
    expect(problems({ ...released, AGENTKEYS_TEE_APPROVALS: "", AGENTKEYS_TEE_SEAL_PCRS: "" }).join()).toContain(
      "together",
    );
    writeFileSync(approvals, "{}");
    expect(problems({ ...released, AGENTKEYS_TEE_SEAL_PCRS: "" }).join()).toContain(
      "AGENTKEYS_TEE_APPROVALS names a file",
    );
  });
});

describe("the command line", () => {
  test("says what a person says once", () => {
    expect(readTeeFlags([])).toEqual({ allowGenesis: false });
    expect(readTeeFlags(["--allow-genesis", "--accept-rollback=7"])).toEqual({
      allowGenesis: true,
      acceptRollback: 7n,
    });
  });

  test.each([["--allow"], ["--accept-rollback=all"], ["--accept-rollback"], ["genesis"]])(
    "%s is refused",
    (argument) => {
      expect(() => readTeeFlags([argument])).toThrow(SettingsError);
    },
  );
});
