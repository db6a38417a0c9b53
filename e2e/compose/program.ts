import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

const root = join(import.meta.dirname, "..", "..");

/** The `agentkeys` program as people start it, in a process of its own. */
export interface Program {
  /** What it printed; rejects with its complaint when it fails. */
  output(...argv: string[]): Promise<string>;
  /** The same for a command that prints a JSON object a line as things happen; `seen` is told of each. */
  events(argv: readonly string[], seen: (event: Event) => void): Promise<Event[]>;
}

export type Event = Readonly<Record<string, unknown>>;

export function agentkeysProgram(env: NodeJS.ProcessEnv): Program {
  const lines = (argv: readonly string[], seen: (line: string) => void): Promise<string[]> => {
    const child = spawn("npm", ["run", "--silent", "agentkeys", "--", ...argv], {
      cwd: root,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const printed: string[] = [];
    let complaint = "";
    child.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
    createInterface({ input: child.stdout }).on("line", (line) => {
      printed.push(line);
      seen(line);
    });
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        if (code === 0) resolve(printed);
        else reject(new Error(`agentkeys ${argv[0] ?? ""} ended with ${code ?? "a signal"}: ${complaint}`));
      });
    });
  };
  return {
    output: async (...argv) => (await lines(argv, () => undefined)).join("\n"),
    events: async (argv, seen) =>
      (await lines(argv, (line) => seen(JSON.parse(line) as Event))).map((line) => JSON.parse(line) as Event),
  };
}
