import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { promisify } from "node:util";

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");
type Service = ChildProcessByStdio<null, Readable, null>;
const started: Service[] = [];
/** Outside the project, so that nothing but the bundle can be found. */
let elsewhere = "";

beforeAll(async () => {
  elsewhere = await mkdtemp(join(tmpdir(), "agentkeys-build-"));
  await run("npm", ["run", "build", "broker", "keys", "mailbox"], { cwd: root });
  await cp(join(root, "dist"), elsewhere, { recursive: true });
});
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});
afterAll(() => rm(elsewhere, { recursive: true, force: true }));

describe("the broker's bundle", () => {
  test("runs alone: pages with their look and script, the store, mail and sign-in", async () => {
    const { url } = await start("broker", {
      AGENTKEYS_BROKER_LISTEN: "127.0.0.1:0",
      AGENTKEYS_BROKER_STORE: join(elsewhere, "broker.sqlite"),
    });
    const page = await (await fetch(`${url}/login`)).text();
    const assets = [...page.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)].map(([, path]) => path ?? "");
    expect(assets).not.toEqual([]);
    expect(page).toMatch(/<style>[^<]{1000,}<\/style>/);
    for (const path of assets) expect((await fetch(url + path)).status, path).toBe(200);

    const login = await post(`${url}/v1/auth/email/start`, { email: "ada@example.com" });
    expect(login.status).toBe(200);
    expect(await (await fetch(`${url}/dev/mailbox`)).text()).toContain("ada@example.com");
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });

  test("has one package beside it, the one whose native binary cannot be bundled", async () => {
    expect(await readdir(join(elsewhere, "broker", "node_modules"))).toEqual([
      "@libsql",
      "@neon-rs",
      "detect-libc",
      "libsql",
    ]);
  });
});

test("the key service's bundle runs alone and derives", async () => {
  const { url } = await start("keys", {
    AGENTKEYS_KEYS_LISTEN: "127.0.0.1:0",
    DEV_KEY_SERVICE_MASTER_SECRET: "07".repeat(32),
  });
  const answer = await post(`${url}/dev/derive-address`, { omni_account: "ab".repeat(32) });
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({ address: expect.stringMatching(/^0x[0-9a-f]{40}$/) as string });
});

test("the mailbox's bundle runs alone", async () => {
  const { url } = await start("mailbox", {
    AGENTKEYS_MAILBOX_LISTEN: "127.0.0.1:0",
    AGENTKEYS_MAILBOX_SMTP_LISTEN: "127.0.0.1:0",
  });
  expect((await fetch(url)).status).toBe(200);
});

test.each(["broker", "keys", "mailbox"])("the bundle of %s ends with 0 when it is asked to stop", async (name) => {
  const prefix = `AGENTKEYS_${name.toUpperCase()}`;
  const { child } = await start(name, {
    [`${prefix}_LISTEN`]: "127.0.0.1:0",
    AGENTKEYS_MAILBOX_SMTP_LISTEN: "127.0.0.1:0",
    AGENTKEYS_BROKER_STORE: join(elsewhere, `${name}.sqlite`),
  });
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
});

test.each(["broker", "keys", "mailbox"])("a mistake in the settings ends the bundle of %s with 78", async (name) => {
  const child = launch(name, { [`AGENTKEYS_${name.toUpperCase()}_LISTEN`]: "nowhere" });
  expect(await once(child, "exit")).toEqual([78, null]);
});

test("a bundle names the licence of everything in it", async () => {
  const text = await readFile(join(elsewhere, "keys", "THIRD-PARTY-LICENSES.txt"), "utf8");
  expect(text).toMatch(/^@noble\/curves \S+ \(MIT\)$/m);
  expect(text).toMatch(/^@connectrpc\/connect \S+ \(Apache-2\.0\)$/m);
});

test("the agentkeys package installs nothing but itself, and its program works", async () => {
  await run("npm", ["pack", "-w", "agentkeys", "--pack-destination", elsewhere], { cwd: root });
  const [tarball = ""] = (await readdir(elsewhere)).filter((file) => file.endsWith(".tgz"));
  const prefix = join(elsewhere, "prefix");
  await run("npm", ["install", "--global", "--offline", "--prefix", prefix, join(elsewhere, tarball)]);
  expect(await readdir(join(prefix, "lib", "node_modules"))).toEqual(["agentkeys"]);
  const installed = await readdir(join(prefix, "lib", "node_modules", "agentkeys"));
  expect(installed.sort()).toEqual(["README.md", "dist", "package.json"]);

  const program = join(prefix, "bin", "agentkeys");
  const options = { env: { PATH: process.env["PATH"], AGENTKEYS_STATE_DIR: join(elsewhere, "state") } };
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
  expect((await run(program, ["--version"], options)).stdout).toBe(`${version}\n`);
  await expect(run(program, ["whoami"], options)).rejects.toMatchObject({ code: 4 });
});

/** Starts a bundle and waits for the line that says where it listens, and for an answer, after which it heeds signals. */
async function start(name: string, env: Record<string, string>): Promise<{ url: string; child: Service }> {
  const child = launch(name, env);
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    const entry = JSON.parse(line) as { msg?: string; url?: string };
    if (entry.msg === "listening" && entry.url !== undefined) {
      await fetch(`${entry.url}/livez`);
      return { url: entry.url, child };
    }
  }
  throw new Error(`${name} ended without listening:\n${said.join("\n")}`);
}

function launch(name: string, env: Record<string, string>): Service {
  const child = spawn(process.execPath, ["main.js"], {
    cwd: join(elsewhere, name),
    env,
    stdio: ["ignore", "pipe", "ignore"],
  });
  started.push(child);
  return child;
}

function post(url: string, body: unknown): Promise<Response> {
  return fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}
