import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";

import { freePorts } from "../harness/free-port.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..", "..");

/** Where the trial's services are on this machine. */
export interface Ports {
  BROKER_PORT: number;
  KEYS_PORT: number;
  MAILBOX_PORT: number;
  KEYS_TEE_PORT: number;
}

/**
 * A copy of the project in a folder of its own, so that a trial has its own `.env`, containers and volumes and leaves
 * those of the real one alone.
 */
export interface Trial {
  folder: string;
  ports: Ports;
  brokerUrl: string;
  keysUrl: string;
  mailboxUrl: string;
  teeUrl: string;
  /** Runs `COMPOSE ...args` in the copy; resolves to all that it printed, rejects with the end of it when it fails. */
  compose(...args: string[]): Promise<string>;
  /** Sets the values of names that stand in the copy's `.env`. */
  set(values: Readonly<Record<string, string>>): Promise<void>;
  remove(): Promise<void>;
}

/** Copies what git knows of, and what it would take up. `composeCommand` is for example `["docker", "compose"]`. */
export async function prepareTrial(composeCommand: readonly string[], env: NodeJS.ProcessEnv): Promise<Trial> {
  const folder = await mkdtemp(join(tmpdir(), "agentkeys-trial-"));
  const { stdout } = await run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root });
  for (const path of new Set(stdout.split("\0").filter((line) => line !== ""))) {
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await copyFile(join(root, path), join(folder, path)).catch(unlessMissing);
  }
  const [program = "docker", ...leading] = composeCommand;
  // Docker would take the name that stands in the compose file; this one goes before it.
  const options = {
    cwd: folder,
    maxBuffer: 64 * 1024 * 1024,
    env: { ...env, COMPOSE_PROJECT_NAME: basename(folder).toLowerCase(), COMPOSE_PROFILES: "tee" },
  };
  const first = await freePorts(4);

  return {
    folder,
    ports: { BROKER_PORT: first, KEYS_PORT: first + 1, MAILBOX_PORT: first + 2, KEYS_TEE_PORT: first + 3 },
    brokerUrl: `http://localhost:${first}`,
    keysUrl: `http://localhost:${first + 1}`,
    mailboxUrl: `http://localhost:${first + 2}`,
    teeUrl: `https://localhost:${first + 3}`,
    async compose(...args) {
      try {
        const { stdout, stderr } = await run(program, [...leading, ...args], options);
        return stdout + stderr;
      } catch (error) {
        const { stdout, stderr } = error as { stdout?: string; stderr?: string };
        const tail = `${stdout ?? ""}${stderr ?? ""}`.split("\n").slice(-30).join("\n");
        throw new Error(`${[...composeCommand, ...args].join(" ")} failed:\n${tail}`, { cause: error });
      }
    },
    async set(values) {
      const path = join(folder, ".env");
      let text = await readFile(path, "utf8");
      for (const [name, value] of Object.entries(values)) {
        if (!new RegExp(`^${name}=`, "m").test(text)) throw new Error(`.env has no ${name}`);
        text = text.replace(new RegExp(`^${name}=.*$`, "m"), `${name}=${value}`);
      }
      await writeFile(path, text);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** A file that was deleted but not yet taken out of git is not there to be copied. */
function unlessMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}
