import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

import { build } from "esbuild";

const MAIN = join(import.meta.dirname, "..", "..", "daemon", "main.ts");

/** Bundles the program into a folder, much as the build does, and gives the file to run: it starts faster than from sources. */
export async function bundleProgram(folder: string): Promise<string> {
  await build({
    entryPoints: { agentkeys: MAIN },
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    logLevel: "error",
    banner: {
      js: 'import { createRequire as bundleCreateRequire } from "node:module"; const require = bundleCreateRequire(import.meta.url);',
    },
  });
  return join(folder, "agentkeys.mjs");
}

/** The `agentkeys` program as a process of its own. */
export interface Program {
  process: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Resolves when what the program has written, on either stream, matches; rejects when it ends without. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  /** The exit code, or the signal's name. */
  ended: Promise<number | string>;
}

/** Runs node with these arguments and this environment, with nothing else of ours but PATH. */
export function startProgram(
  args: readonly string[],
  o: { env: Record<string, string | undefined>; cwd: string },
): Program {
  const env = { PATH: process.env["PATH"], ...o.env };
  const child = spawn(process.execPath, args, { env, cwd: o.cwd, stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  const listeners = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (chunk: string) => {
      output[name] += chunk;
      listeners.forEach((listener) => listener());
    });
  }
  const ended = new Promise<number | string>((resolve) => {
    child.once("close", (code, signal) => resolve(code ?? signal ?? -1));
  });
  return {
    process: child,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    ended,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = pattern.exec(output.stdout) ?? pattern.exec(output.stderr);
          if (found === null) return;
          listeners.delete(look);
          resolve(found);
        };
        listeners.add(look);
        look();
        void ended.then((code) => reject(new Error(`It ended with ${code}: ${output.stdout}${output.stderr}`)));
      }),
  };
}
