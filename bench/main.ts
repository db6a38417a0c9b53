/**
 * Measures the services on loopback and prints a table: npm run bench [-- --json] [-- --memory]
 *
 * Machines differ and are noisy, so that what counts is the ratio to a no-op RPC of the same run, over the same protocol
 * (Connect JSON) and the same server code. Nothing is asserted.
 */
import { execFileSync } from "node:child_process";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { makeBed } from "./bed.ts";
import { measureMemory, measureStart } from "./footprint.ts";
import { measureProgram } from "./program.ts";
import { measureRates } from "./rates.ts";
import { print } from "./report.ts";
import { measureSignIns } from "./sign-ins.ts";
import { isPinned } from "./service-process.ts";

const { values: options } = parseArgs({
  options: { json: { type: "boolean", default: false }, memory: { type: "boolean", default: false } },
});
const progress = (name: string): void => {
  if (!options.json) process.stderr.write(`measuring: ${name}\n`);
};

execFileSync(process.execPath, [join(import.meta.dirname, "..", "build.mjs")], {
  stdio: ["ignore", "ignore", "inherit"],
});
const bed = await makeBed({ allowances: "endless" });
try {
  const rates = await measureRates(bed, progress);
  progress("sign-ins");
  const signIns = await measureSignIns();
  progress("start, 5 times");
  const start = await measureStart(5);
  progress("agentkeys creds");
  const program = await measureProgram();
  const memory = options.memory ? await measureMemory(bed, progress) : [];
  const machine = {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    node: process.version,
    onePinnedCorePerService: isPinned,
  };
  if (options.json) console.log(JSON.stringify({ machine, rates, signIns, start, program, memory }, null, 2));
  else print({ machine, rates, signIns, start, program, memory });
} finally {
  await bed.close();
}
