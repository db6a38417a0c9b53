import type { Growth, StartTime } from "./footprint.ts";
import type { ProgramTime } from "./program.ts";
import type { Row } from "./rates.ts";
import type { SignInFigures } from "./sign-ins.ts";
import { table } from "./table.ts";

export interface Report {
  machine: { cpu: string; cores: number; node: string; onePinnedCorePerService: boolean };
  rates: readonly Row[];
  signIns: readonly SignInFigures[];
  start: readonly StartTime[];
  program: ProgramTime;
  /** Empty unless asked for. */
  memory: readonly Growth[];
}

/** Prints the report for people. */
export function print({ machine, rates, signIns, start, program, memory }: Report): void {
  const pinning = machine.onePinnedCorePerService ? "each service held to one core" : "services not held to a core";
  console.log(
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${pinning}, the caller in a process of its own\n`,
  );
  const rows = rates.map((row) => [
    row.name,
    String(row.concurrency),
    row.perSecond.toFixed(0),
    row.p50.toFixed(2),
    row.p99.toFixed(2),
    `${(row.rateToNoop * 100).toFixed(0)} %`,
    `${row.p50ToNoop.toFixed(1)} x`,
  ]);
  console.log(table([["", "in flight", "per s", "p50 ms", "p99 ms", "rate of no-op", "p50 of no-op"], ...rows]));
  console.log(
    "\nThe no-op RPC is a health check over Connect JSON on the same server code, in a process that depends on nothing.\n",
  );

  const ways = signIns.map((row) => [
    row.way,
    String(row.requests),
    row.p50.toFixed(2),
    row.p99.toFixed(2),
    row.p50ToNoop.toFixed(1),
    row.p99ToNoop.toFixed(1),
    row.p99ToNoopMedian.toFixed(1),
  ]);
  const headings = ["a sign-in", "requests", "p50 ms", "p99 ms", "p50 in no-ops", "p99 by p99", "p99 by p50"];
  console.log(table([headings, ...ways]));
  console.log(
    "\nThe broker's time alone, without the mail's and the provider's, over all calls and pages of a sign-in to the session.\n",
  );

  const starts = start.map(({ service, readyMs }) => [service, readyMs.toFixed(0)]);
  console.log(table([["from start to ready", "median ms"], ...starts]));
  console.log();
  const { credsMs, nodeMs } = program;
  console.log(
    table([
      ["program", "median ms", "of node -e 0"],
      ["node -e 0", nodeMs.toFixed(0), "1.0 x"],
      ["agentkeys creds, from cache", credsMs.toFixed(0), `${(credsMs / nodeMs).toFixed(1)} x`],
    ]),
  );
  if (memory.length === 0) return;
  const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  const growth = memory.map((row) => [
    row.service,
    row.call,
    mebibytes(row.after10k),
    mebibytes(row.after100k),
    `${((row.after100k / row.after10k - 1) * 100).toFixed(0)} %`,
  ]);
  console.log();
  console.log(table([["resident memory, MiB", "call", "after 10,000", "after 100,000", "growth"], ...growth]));
}
