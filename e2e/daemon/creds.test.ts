import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { fromProcess } from "@aws-sdk/credential-providers";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";

import { type Enrolled, startEnrolled } from "./enrolled.ts";

let ada: Enrolled;
beforeAll(async () => {
  ada = await startEnrolled();
});
afterEach(() => vi.unstubAllEnvs());
afterAll(() => ada.close());

const mints = (): number => ada.system.logged.filter((line) => line.includes("MintOidcJwt")).length;

test("processes that ask at the same time fetch once, and get the same", async () => {
  const before = mints();
  const programs = Array.from({ length: 3 }, () => ada.start(["creds"]));
  for (const program of programs) {
    expect(await program.ended).toBe(0);
    expect(program.stderr()).toBe("");
    expect(program.stdout()).toMatch(/^\{"Version":1,"AccessKeyId":"ASIA.*\}\n$/);
  }
  expect(new Set(programs.map((program) => program.stdout())).size).toBe(1);
  expect(mints() - before).toBe(1);
});

test("what is kept is for its owner alone, and asked for without a call to anybody", async () => {
  const before = ada.system.logged.length;
  expect((await ada.machine.credentials()).expiration.getTime()).toBeGreaterThan(Date.now() + 50 * 60_000);
  expect(ada.system.logged.length).toBe(before);
  const files = readdirSync(ada.machine.folder);
  expect(files).toHaveLength(2);
  for (const file of files) expect(statSync(join(ada.machine.folder, file)).mode & 0o777).toBe(0o600);
});

test("credentials for one role, or one length, are never given out for another", async () => {
  const usual = await ada.machine.credentials();
  ada.machine.env["AGENTKEYS_AWS_SESSION_SECONDS"] = "900";
  const short = await ada.machine.credentials();
  delete ada.machine.env["AGENTKEYS_AWS_SESSION_SECONDS"];
  expect(short.expiration.getTime()).toBeLessThan(Date.now() + 901_000);
  expect(await ada.machine.credentials()).toEqual(usual);
});

test("AWS's SDK runs it as credential_process", async () => {
  const config = join(ada.home, "config");
  const command = [process.execPath, ada.file, "creds"].map((part) => `"${part}"`).join(" ");
  writeFileSync(config, `[profile agent]\ncredential_process = ${command}\n`);
  for (const [name, value] of Object.entries(ada.machine.env)) vi.stubEnv(name, value);
  vi.stubEnv("AWS_CONFIG_FILE", config);
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(ada.home, "none"));
  expect(await ada.callerOf(fromProcess({ profile: "agent" }))).toBe(ada.ownArn);
});

test("errors go to standard error, with an exit code for each kind", async () => {
  const program = ada.start(["creds"], { env: { AGENTKEYS_STATE_DIR: join(ada.home, "empty") } });
  expect(await program.ended).toBe(4);
  expect(program.stdout()).toBe("");
  expect(program.stderr()).toBe("agentkeys: Nobody is signed in on this machine.\nRun `agentkeys init`.\n");
});

test("after a sign-out nothing that was kept is given out", async () => {
  await ada.machine.credentials();
  await ada.machine.agentkeys("logout");
  expect(readdirSync(ada.machine.folder)).toEqual([]);
  expect(await ada.machine.agentkeys("creds")).toMatchObject({ code: 4, stdout: "" });
});
