import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";

import { type Tpm, type TpmDependencies, tpmOver } from "../client.ts";
import { startup } from "../commands/lifecycle.ts";
import { openTpm } from "../open.ts";
import { openTransport, type TpmTransport } from "../transport.ts";

/** A software TPM of its own, with an endorsement certificate by a certificate authority of its own. */
export interface TestTpm {
  /** The address of the running TPM, for programs. */
  readonly address: { unix: string };
  /** PEM, the certificate authority's root first: roots and intermediates of the endorsement certificate. */
  readonly authority: { root: string; issuer: string };
  /** Connects and starts it up. One connection at a time: close it before the next. */
  open(options?: TpmDependencies & { tap?: Buffer[] }): Promise<Tpm>;
  /** Orderly off, on: PCRs are reset, NV stays. Connections must be closed before. */
  reboot(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Whether suites that need a TPM can run. Where swtpm is not installed they are skipped, with one line that says so; never in CI.
 */
export function hasSwtpm(suite: string, env: Readonly<Record<string, string | undefined>>): boolean {
  const found =
    spawnSync("swtpm_setup", ["--version"]).error === undefined &&
    spawnSync("swtpm", ["--version"]).error === undefined;
  if (!found && env["CI"] === "true") throw new Error("swtpm and swtpm-tools are not installed, and CI must run them");
  if (!found) process.stderr.write(`SKIPPED: ${suite}: swtpm and swtpm-tools are not installed\n`);
  return found;
}

/**
 * Runs a TPM in a folder of its own, on a socket there. Manufacturing takes a second, so all of a process are copies of one, unless
 * it has to be `another`: then it shares no key with the others.
 */
export async function startTestTpm(which: "any" | "another" = "any"): Promise<TestTpm> {
  const folder = await mkdtemp(join(tmpdir(), "agentkeys-tpm-"));
  if (which === "another") await manufacture(folder);
  else await copyOf(await (model ??= manufactureModel()), folder);
  return await runTpm(folder, () => rm(folder, { recursive: true, force: true }));
}

/** Runs the TPM of a folder, which is made at the first time and stays there. A terminal's Ctrl-C does not reach it. */
export async function startKeptTpm(folder: string): Promise<TestTpm> {
  if (!existsSync(join(folder, "state"))) await manufacture(folder);
  await rm(join(folder, "tpm.sock"), { force: true });
  return await runTpm(folder, () => Promise.resolve());
}

async function runTpm(folder: string, leave: () => Promise<void>): Promise<TestTpm> {
  const socket = join(folder, "tpm.sock");
  let running = await run(folder, socket);

  const off = async (): Promise<void> => {
    const tpm = await openTpm({ unix: socket });
    await tpm.close();
    await ended(running);
  };
  return {
    address: { unix: socket },
    authority: {
      root: await readFile(join(folder, "ca", "swtpm-localca-rootca-cert.pem"), "utf8"),
      issuer: await readFile(join(folder, "ca", "issuercert.pem"), "utf8"),
    },
    open: async ({ tap, ...dependencies } = {}) => {
      const transport = await openTransport({ unix: socket });
      const tpm = tpmOver(tap === undefined ? transport : tapped(transport, tap), dependencies);
      await tpm.use(startup);
      return tpm;
    },
    reboot: async () => {
      await off();
      running = await run(folder, socket);
    },
    stop: async () => {
      if (running.exitCode === null) await off();
      await leave();
    },
  };
}

/** The files of a TPM that was just manufactured: kept in memory, for a worker of the test runner may end without a word. */
type Model = readonly { name: string; contents: Buffer }[];

let model: Promise<Model> | undefined;

async function manufactureModel(): Promise<Model> {
  const folder = await mkdtemp(join(tmpdir(), "agentkeys-tpm-"));
  try {
    await manufacture(folder);
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    return await Promise.all(
      files.map(async ({ parentPath, name }) => {
        const path = join(parentPath, name);
        return { name: relative(folder, path), contents: await readFile(path) };
      }),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function copyOf(files: Model, folder: string): Promise<void> {
  for (const { name, contents } of files) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), contents, { mode: 0o600 });
  }
}

async function manufacture(folder: string): Promise<void> {
  const [state, authority] = [join(folder, "state"), join(folder, "ca")];
  await mkdir(state, { recursive: true, mode: 0o700 });
  await mkdir(authority);
  const [setup, local, options] = ["setup.conf", "localca.conf", "localca.options"].map((name) => join(folder, name));
  await writeFile(options ?? "", "--platform-manufacturer agentkeys\n--platform-version 1\n--platform-model test\n");
  await writeFile(
    local ?? "",
    [
      `statedir = ${authority}`,
      `signingkey = ${join(authority, "signkey.pem")}`,
      `issuercert = ${join(authority, "issuercert.pem")}`,
      `certserial = ${join(authority, "certserial")}`,
    ].join("\n"),
  );
  await writeFile(
    setup ?? "",
    [
      "create_certs_tool = /usr/bin/swtpm_localca",
      `create_certs_tool_config = ${local ?? ""}`,
      `create_certs_tool_options = ${options ?? ""}`,
    ].join("\n"),
  );
  const made = spawnSync(
    "swtpm_setup",
    [
      "--tpm2",
      "--tpmstate",
      `dir://${state}`,
      "--create-ek-cert",
      "--lock-nvram",
      "--overwrite",
      "--config",
      setup ?? "",
    ],
    { encoding: "utf8" },
  );
  if (made.status !== 0) throw new Error(`swtpm_setup failed: ${made.stdout}${made.stderr}`);
}

async function run(folder: string, socket: string): Promise<ChildProcess> {
  const child = spawn(
    "swtpm",
    [
      "socket",
      "--tpm2",
      "--tpmstate",
      `dir=${join(folder, "state")}`,
      "--server",
      `type=unixio,path=${socket}`,
      "--flags",
      "not-need-init,startup-clear",
    ],
    // Of a process group of its own: who uses it ends it, in good order.
    { stdio: ["ignore", "ignore", "pipe"], detached: true },
  );
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const gone = new Promise<never>((_, reject) =>
    child.once("exit", (code) => reject(new Error(`swtpm ended with ${code ?? "a signal"}: ${said}`))),
  );
  gone.catch(() => undefined);
  await Promise.race([answers(socket), gone]);
  return child;
}

/** swtpm says nothing when it listens; its socket is tried until it does. */
async function answers(socket: string): Promise<void> {
  for (;;) {
    const connected = await new Promise<boolean>((resolve) => {
      const trial = connect(socket);
      trial.once("error", () => resolve(false));
      trial.once("connect", () => {
        trial.end();
        trial.once("close", () => resolve(true));
      });
    });
    if (connected) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await exit;
}

/** Keeps every byte that goes to the TPM and comes from it. */
function tapped(transport: TpmTransport, tap: Buffer[]): TpmTransport {
  return {
    close: () => transport.close(),
    transmit: async (command) => {
      const answer = await transport.transmit(command);
      tap.push(Buffer.from(command), Buffer.from(answer));
      return answer;
    },
  };
}
