import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..", "..");

type Program = "daemon/main.ts" | "services/broker/main.ts" | "services/keys/main.ts" | "e2e/demo.ts" | "e2e/start.ts";

/** What node is given to run a program of this repository from its sources, as the npm scripts do. */
export function fromSources(file: Program): string[] {
  return ["--import", import.meta.resolve("tsx"), join(ROOT, file)];
}
