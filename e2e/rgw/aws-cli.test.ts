import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { startProgram } from "../daemon/program.ts";
import { type Cloud, startRgwCloud } from "../harness/cloud.ts";
import { fromSources } from "../harness/from-sources.ts";
import { createMachine, type Machine } from "../harness/machine.ts";
import { isOnPath } from "../harness/on-path.ts";
import { plainBrowser } from "../harness/plain-browser.ts";
import { startSystem } from "../harness/system.ts";
import { createUndoStack } from "../harness/undo-stack.ts";
import { openS3, placeOf, prepareVault, tryPlace, type Vault } from "../harness/vault.ts";
import { announceSkip, missingForRgw } from "./requirements.ts";

// Debian's, where there is another one as well.
const AWS = existsSync("/usr/bin/aws") ? "/usr/bin/aws" : "aws";
const noCli =
  isOnPath("aws") || process.env["CI"] === "true" ? undefined : "aws is not installed: apt-get install awscli";
const skip = announceSkip(missingForRgw(process.env) ?? noCli);

describe.skipIf(skip)("the AWS CLI, as an agent runs it", () => {
  let scratch: string;
  let cloud: Cloud;
  let vault: Vault;
  let machine: Machine;
  let own: string;
  const undo = createUndoStack();

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), "agentkeys-cli-"));
    undo.add(() => rmSync(scratch, { recursive: true, force: true }));
    cloud = await startRgwCloud(scratch);
    undo.add(() => cloud.close());
    const system = await startSystem({ front: cloud.front });
    undo.add(() => system.close());
    vault = await prepareVault(cloud, system.broker.publicUrl);
    const env = {
      AGENTKEYS_AWS_ROLE_ARN: vault.roleArn,
      AGENTKEYS_LISTEN: "127.0.0.1:0",
      AWS_ENDPOINT_URL_STS: cloud.url,
    };
    machine = createMachine({ system, env });
    undo.add(() => machine.remove());
    const { wallet } = await machine.signIn("ada@example.com", plainBrowser());
    await vault.admit([wallet, OTHER]);
    own = wallet;
    const admin = openS3(cloud.url, cloud.admin);
    expect(await tryPlace(admin, vault.bucket, OTHER)).toEqual({ put: "OK", get: "OK", list: "OK" });
    admin.destroy();
  });
  afterAll(() => undo.run());

  const OTHER = `0x${"b".repeat(40)}`;

  /** `aws s3 cp` from or to standard input and output. */
  function copy(from: string, to: string, env: Record<string, string | undefined>, input = "") {
    const child = spawn(AWS, ["--endpoint-url", cloud.url, "s3", "cp", from, to], {
      env: {
        PATH: process.env["PATH"],
        HOME: scratch,
        AWS_DEFAULT_REGION: "us-east-1",
        AWS_EC2_METADATA_DISABLED: "true",
        ...env,
      },
    });
    const said = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) child[name].on("data", (chunk) => (said[name] += String(chunk)));
    child.stdin.end(input);
    return new Promise<{ code: number | null } & typeof said>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => resolve({ code, ...said }));
    });
  }

  /** Writes and reads in one's own place, and tries another's. */
  async function useVault(env: Record<string, string | undefined>): Promise<void> {
    const note = (wallet: string): string => `s3://${vault.bucket}/${placeOf(wallet)}note.txt`;
    expect(await copy("-", note(own), env, "from the AWS CLI")).toMatchObject({ code: 0, stderr: "" });
    expect(await copy(note(own), "-", env)).toMatchObject({ code: 0, stdout: "from the AWS CLI" });
    // By reading: an error of Ceph's with no text in it is more than this CLI can tell of when it writes.
    const refused = await copy(note(OTHER), "-", env);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("(403)");
    expect(refused.stdout).toBe("");
  }

  test("gets its credentials from `agentkeys creds` as credential_process", async () => {
    const config = join(scratch, "aws-config");
    const command = [process.execPath, ...fromSources("daemon/main.ts"), "creds"].map((part) => `"${part}"`).join(" ");
    writeFileSync(config, `[default]\ncredential_process = ${command}\n`);
    await useVault({ ...machine.env, AWS_CONFIG_FILE: config });
  });

  test("gets its credentials from `agentkeys daemon` as a container's", async () => {
    const daemon = startProgram([...fromSources("daemon/main.ts"), "daemon", "--json"], {
      env: { HOME: scratch, ...machine.env },
      cwd: scratch,
    });
    try {
      const [line] = await daemon.says(/^\{.*\}$/m);
      const { url, token_file: tokenFile } = JSON.parse(line) as { url: string; token_file: string };
      // Debian's AWS CLI (2.9) does not know AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE.
      await useVault({
        AWS_CONTAINER_CREDENTIALS_FULL_URI: url,
        AWS_CONTAINER_AUTHORIZATION_TOKEN: readFileSync(tokenFile, "utf8"),
      });
    } finally {
      daemon.process.kill("SIGTERM");
      expect(await daemon.ended).toBe(0);
    }
  });
});
