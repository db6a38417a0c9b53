import { execFileSync, spawn } from "node:child_process";
import { openSync, readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";

/** A service in a process of its own. */
export interface ServiceProcess {
  url: string;
  /** From the start of the process to the first 200 of /readyz, in milliseconds. */
  readyMs: number;
  /** Resident memory now, in bytes; NaN where /proc does not tell. */
  residentBytes(): number;
  stop(): Promise<void>;
}

const READY_WITHIN_MS = 30_000;

/** Starts `node ...args`, its output going to the file `logFile`, and waits until `url` is ready. */
export async function startProcess(o: {
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  url: string;
  logFile: string;
  /** The core that it is held to, where the machine can do that. */
  core: number;
}): Promise<ServiceProcess> {
  const [program, first] = isPinned ? ["taskset", ["-c", String(o.core), process.execPath]] : [process.execPath, []];
  const output = openSync(o.logFile, "a");
  const start = performance.now();
  const child = spawn(program, [...first, ...o.args], {
    env: { PATH: process.env["PATH"], ...o.env },
    stdio: ["ignore", output, output],
  });
  const end = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  while (!(await isReady(o.url))) {
    if (child.exitCode !== null || performance.now() - start > READY_WITHIN_MS) {
      child.kill("SIGKILL");
      throw new Error(`${o.args.join(" ")} did not become ready:\n${readFileSync(o.logFile, "utf8").slice(-2000)}`);
    }
    await delay(2);
  }
  return {
    url: o.url,
    readyMs: performance.now() - start,
    residentBytes: () => residentBytes(child.pid),
    async stop() {
      child.kill("SIGTERM");
      await end;
    },
  };
}

/** Whether services are held to one core each, their garbage collectors and compilers too. */
export const isPinned = ((): boolean => {
  try {
    execFileSync("taskset", ["-c", "0", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok;
  } catch {
    return false;
  }
}

function residentBytes(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid ?? 0}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  } catch {
    return NaN;
  }
}
