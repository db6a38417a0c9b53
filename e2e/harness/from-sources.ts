import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..", "..");

/** What node is given to run a program of this repository from its sources, as the npm scripts do. */
export function fromSources(file: "daemon/main.ts" | "e2e/demo.ts" | "e2e/start.ts"): string[] {
  return ["--import", import.meta.resolve("tsx"), join(ROOT, file)];
}
