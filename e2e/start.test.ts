import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { type Program, startProgram } from "./daemon/program.ts";
import { freePorts } from "./harness/free-port.ts";
import { fromSources } from "./harness/from-sources.ts";
import { plainBrowser } from "./harness/plain-browser.ts";
import { openS3, tryPlace } from "./harness/vault.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agentkeys-start-"));
});
const programs: Program[] = [];
afterEach(async () => {
  for (const { process, ended } of programs.splice(0)) {
    process.kill("SIGKILL");
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

const secretFile = (): string => join(folder, ".agentkeys", "dev-master-secret");

/** `npm start` as a process of its own, in a folder of its own. */
function npmStart(env: Record<string, string> = {}) {
  const free = { AGENTKEYS_BROKER_LISTEN: "127.0.0.1:0", AGENTKEYS_KEYS_LISTEN: "127.0.0.1:0" };
  const program = startProgram([...fromSources("e2e/start.ts"), "--aws-port", "0"], {
    env: { ...free, ...env },
    cwd: folder,
  });
  programs.push(program);
  return { ...program, up: () => program.says(/Ctrl-C ends it\./), output: () => program.stdout() + program.stderr() };
}

/** What the lines to be copied set. */
function exportsIn(output: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [, name = "", value = ""] of output.matchAll(/^ {2}export (\w+)='([^']*)'$/gm)) found[name] = value;
  return found;
}

describe("npm start", () => {
  test(
    "says what to do next, and doing it gives credentials that work; all of it is there after a restart",
    { timeout: 90_000 },
    async () => {
      const env = {
        AGENTKEYS_BROKER_LISTEN: `127.0.0.1:${await freePorts()}`,
        AGENTKEYS_KEYS_LISTEN: `127.0.0.1:${await freePorts()}`,
      };
      const first = npmStart(env);
      await first.up();
      const variables = exportsIn(first.output());
      const agentkeys = (...args: string[]) =>
        startProgram([...fromSources("daemon/main.ts"), ...args], { env: { HOME: folder, ...variables }, cwd: folder });

      const init = agentkeys("init", "--email", "you@example.com");
      await init.says(/[A-Z]{4}-[A-Z]{4}/);
      const mailbox = await (await fetch(`${variables["AGENTKEYS_BROKER_URL"]!}/dev/mailbox`)).text();
      await plainBrowser().confirm(/href="([^"]*\/login#[^"]*)"/.exec(mailbox)![1]!);
      expect(await init.ended, init.stderr()).toBe(0);

      const creds = agentkeys("creds");
      expect(await creds.ended, creds.stderr()).toBe(0);
      const { AccessKeyId, SecretAccessKey, SessionToken } = JSON.parse(creds.stdout()) as Record<string, string>;
      const credentials = { accessKeyId: AccessKeyId!, secretAccessKey: SecretAccessKey!, sessionToken: SessionToken! };
      const s3 = openS3(variables["AWS_ENDPOINT_URL_S3"]!, credentials);
      const wallet = /0x[0-9a-f]{40}/.exec(init.stdout())![0];
      expect(await tryPlace(s3, "agentkeys-vault", wallet)).toEqual({ put: "OK", get: "OK", list: "OK" });
      s3.destroy();

      const log = readFileSync(join(folder, ".agentkeys", "services.log"), "utf8");
      expect(log).toContain("MintOidcJwt");
      expect(first.output()).not.toContain("MintOidcJwt");

      const secret = readFileSync(secretFile(), "utf8");
      expect(statSync(secretFile()).mode & 0o777).toBe(0o600);
      expect(first.output()).toContain("made a development master secret");
      expect(first.output()).not.toContain(secret.trim());
      first.process.kill("SIGINT");
      expect(await first.ended).toBe(0);

      const second = npmStart(env);
      await second.up();
      expect(readFileSync(secretFile(), "utf8")).toBe(secret);
      expect(second.output()).not.toContain("made a development master secret");
      const whoami = agentkeys("whoami");
      expect(await whoami.ended, whoami.stderr()).toBe(0);
      expect(whoami.stdout()).toContain(`${wallet} (linked)`);
      second.process.kill("SIGTERM");
      expect(await second.ended).toBe(0);
    },
  );

  test("does not start on a master secret that is none, and does not replace it", async () => {
    mkdirSync(join(folder, ".agentkeys"));
    writeFileSync(secretFile(), "not hex");
    const start = npmStart();
    expect(await start.ended).toBe(1);
    expect(start.output()).toContain("dev-master-secret must hold 64 hex characters");
    expect(readFileSync(secretFile(), "utf8")).toBe("not hex");
  });

  test("ends with 78 for a setting that nobody knows", async () => {
    const start = npmStart({ AGENTKEYS_BROKER_LISTNE: "x" });
    expect(await start.ended).toBe(78);
    expect(start.output()).toContain("AGENTKEYS_BROKER_LISTNE");
  });

  test("says which port is taken", async () => {
    const first = npmStart();
    await first.up();
    const port = new URL(exportsIn(first.output())["AGENTKEYS_BROKER_URL"]!).port;
    const second = npmStart({ AGENTKEYS_BROKER_LISTEN: `127.0.0.1:${port}` });
    expect(await second.ended).toBe(78);
    expect(second.output()).toContain(`Port ${port} is taken`);
    first.process.kill("SIGTERM");
    await first.ended;
  });
});
