/**
 * Tries verifiers of evidence to exhaustion, and measures them: npm run bench:evidence -- [flips] [mutations] [times] [--count 1000000] [--part 1/1]
 *
 * flips: every byte of genuine evidence and endorsements is changed; what is accepted is listed. mutations: `count` spoilt
 * inputs, also such as were signed again after they were spoilt; nothing but clean refusals in bounded time is expected.
 * times: medians of whole verifications, in time of the processor. `--part 2/3` takes every third case, from the second on. Evidence captured from real hardware takes part where it is at hand.
 */
import { parseArgs } from "node:util";

import { table } from "../table.ts";
import { type Case, capturedCases, issuedCases } from "./cases.ts";
import { cpuMs } from "./cpu-time.ts";
import { flipEveryByte } from "./flips.ts";
import { mutateMany } from "./mutations.ts";
import { resignedCases } from "./resigned.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { count: { type: "string", default: "1000000" }, part: { type: "string", default: "1/1" } },
});
const runs = { flips, mutations, times };
const named = Object.entries(runs).filter(([name]) => positionals.length === 0 || positionals.includes(name));
for (const [, run] of named) run();

function flips(): void {
  const rows = partOf(genuine()).map((candidate) => {
    process.stderr.write(`changing: ${candidate.name}\n`);
    const { tried, accepted, unclean } = flipEveryByte(candidate);
    const found = [...new Set(accepted)].map((index) => `${index} in "${around(candidate.bytes, index)}"`);
    return [
      candidate.name,
      String(tried),
      String(accepted.length),
      String(unclean.length),
      [...found, ...unclean].join("; "),
    ];
  });
  console.log(table([["every byte changed", "tried", "accepted", "unclean", "which"], ...rows]), "\n");
}

function mutations(): void {
  const cases = partOf([...genuine(), ...resignedCases()]);
  const counts = shares(cases, Number(values.count));
  const rows = cases.map((candidate, index) => {
    process.stderr.write(`spoiling: ${candidate.name}\n`);
    const count = counts[index] ?? 0;
    const { tried, refused, codes, accepted, unclean, worstMs, totalMs } = mutateMany(candidate, count, index + 1);
    const byCode = Object.entries(codes).map(([code, count]) => `${code} ${count}`);
    // A quote stands in a buffer of zeros: more or fewer of these are the same quote.
    const differing = accepted.filter((bytes) => !trimmed(bytes).equals(trimmed(candidate.bytes)));
    const figures = [tried, refused, accepted.length, differing.length, unclean.length].map(String);
    const shown = [...byCode, ...new Set(unclean)].join(", ");
    return [candidate.name, ...figures, worstMs.toFixed(1), (totalMs / tried).toFixed(3), shown];
  });
  const headings = ["spoilt", "tried", "refused", "accepted", "differing", "unclean", "worst ms", "mean ms", "by"];
  console.log(table([headings, ...rows]));
  console.log(`in all ${counts.reduce((sum, count) => sum + count, 0)} inputs\n`);
}

function times(): void {
  // With an endorsement as the input it is the same verification once more.
  const whole = genuine().filter(({ name }) => !/endorsement|certificate|collateral/.test(name));
  const rows = whole.map((candidate) => [candidate.name, median(candidate).toFixed(2)]);
  console.log(table([["verification", "median ms"], ...rows]), "\n");
}

/** A twentieth goes to all alike, the rest by what one costs: so that the dear ones take part, and the cheap ones are many. */
function shares(cases: readonly Case[], count: number): number[] {
  const speeds = cases.map((candidate) => 1 / mutateMany(candidate, 50, 0).totalMs);
  const allSpeeds = speeds.reduce((sum, speed) => sum + speed, 0);
  return speeds.map((speed) => Math.ceil(count * (0.05 / cases.length + (0.95 * speed) / allSpeeds)));
}

function partOf(cases: readonly Case[]): Case[] {
  const [part = 1, parts = 1] = values.part.split("/").map(Number);
  return cases.filter((_, index) => index % parts === part - 1);
}

function genuine(): Case[] {
  return [...issuedCases(), ...capturedCases()];
}

function median({ bytes, verify }: Case): number {
  const taken = Array.from({ length: 120 }, () => {
    const start = cpuMs();
    verify(bytes);
    return cpuMs() - start;
  }).slice(20); // the first ones warm up
  return taken.sort((a, b) => a - b)[taken.length / 2] ?? NaN;
}

function around(bytes: Buffer, index: number): string {
  return bytes.toString("latin1", Math.max(0, index - 8), index + 8).replace(/[^ -~]/g, ".");
}

function trimmed(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}
