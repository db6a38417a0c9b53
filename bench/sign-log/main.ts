/**
 * Measures what a TEE worker's policy and durable log cost: npm run bench:sign-log [-- --kills 200] [--entries 1000000]
 *
 * SignMessage on the development backend and on the parts of a worker, in turns in one run, both in one process on one core;
 * then the log alone. The counter is one in memory: a chip adds its own time to each commit, not to each signature.
 *
 * Instead of that, with --kills, a process that signs is killed that many times over the same log; with --entries, an account's own
 * are looked up in a log of that many, before and after it was audited.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";

import { freePorts } from "@agentkeys/e2e/harness/free-port.ts";
import { type MerkleSignLog, openLogFolder, openMerkleSignLog } from "@agentkeys/keys/sign-log/index.ts";
import { memoryCounter } from "@agentkeys/keys/sign-log/testing/counters.ts";
import { recordOf, signer } from "@agentkeys/keys/sign-log/testing/harness.ts";
import { killRepeatedly } from "@agentkeys/keys/sign-log/testing/kills.ts";
import { type OmniAccount, parseOmniAccount } from "@agentkeys/lib/account";
import { systemClock as clock } from "@agentkeys/lib/clock";
import { systemRandom as random } from "@agentkeys/lib/random";

import { RPC } from "../caller.ts";
import { createLoadClient, type LoadClient } from "../load-client.ts";
import { type Figures, measure } from "../measure.ts";
import { startProcess } from "../service-process.ts";
import { table } from "../table.ts";
import { makeBroker } from "./broker.ts";

const ROUNDS = 5;
const number = { type: "string", default: "0" } as const;
const { values: options } = parseArgs({ options: { kills: number, entries: number } });
const folder = mkdtempSync(join(tmpdir(), "agentkeys-bench-log-"));
try {
  const [kills, entries] = [Number(options.kills), Number(options.entries)];
  if (kills + entries === 0) {
    await compareBackends();
    await measureLog();
  }
  if (entries > 0) await measureListing(entries);
  if (kills > 0) console.log(await killRepeatedly(mkdtempSync(join(folder, "kills-")), kills));
} finally {
  rmSync(folder, { recursive: true });
}

async function compareBackends(): Promise<void> {
  const broker = await makeBroker();
  const port = await freePorts(2);
  const server = await startProcess({
    args: [
      "--import",
      "tsx",
      join(import.meta.dirname, "server.ts"),
      folder,
      String(port),
      JSON.stringify(broker.publicJwk),
    ],
    url: `http://127.0.0.1:${port}`,
    logFile: join(folder, "server.log"),
    core: availableParallelism() - 1,
    env: {},
  });
  const headers = { authorization: `Bearer ${broker.session}` };
  const [dev, worker] = [
    createLoadClient(`http://127.0.0.1:${port}`),
    createLoadClient(`http://127.0.0.1:${port + 1}`),
  ];
  const round = async (backend: LoadClient, calls: number, inFlight: number): Promise<Figures> => {
    const prepare = async () => {
      const body = await broker.challenge();
      return () => backend.post(RPC.signMessage, body, headers);
    };
    return measure({ prepare }, calls, inFlight);
  };
  const rows = [["SignMessage", "in flight", "dev per s", "worker per s", "ratio", "dev p50 ms", "worker p50 ms"]];
  for (const [calls, inFlight] of [
    [300, 1],
    [1000, 32],
  ] as const) {
    const figures: [Figures, Figures][] = [];
    for (let i = 0; i < ROUNDS; i++)
      figures.push([await round(dev, calls, inFlight), await round(worker, calls, inFlight)]);
    const middle = (of: (pair: [Figures, Figures]) => number): number =>
      figures.map(of).toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? NaN;
    const ratio = middle(([a, b]) => b.perSecond / a.perSecond);
    rows.push([
      ...[
        "",
        String(inFlight),
        middle(([a]) => a.perSecond).toFixed(0),
        middle(([, b]) => b.perSecond).toFixed(0),
        `${(ratio * 100).toFixed(0)} %`,
      ],
      ...[middle(([a]) => a.p50).toFixed(2), middle(([, b]) => b.p50).toFixed(2)],
    ]);
  }
  for (const backend of [dev, worker]) backend.close();
  await server.stop();
  console.log(`${table(rows)}\n`);
}

async function measureLog(): Promise<void> {
  const rows = [["the log alone", "at a time", "appends", "ms per append", "ms per commit"]];
  for (const together of [1, 16, 64, 256]) {
    const log = await openMerkleSignLog({
      files: await openLogFolder(join(folder, `log-${together}`)),
      counter: memoryCounter(),
      begin: true,
      signer,
      clock,
      random,
    });
    const commits = together === 1 ? 1000 : 100;
    const start = performance.now();
    for (let i = 0; i < commits; i++)
      await Promise.all(Array.from({ length: together }, (_, k) => log.append(recordOf(k))));
    const elapsed = performance.now() - start;
    rows.push([
      ...["", String(together), String(commits * together), (elapsed / commits / together).toFixed(3)],
      (elapsed / commits).toFixed(3),
    ]);
    await log.close();
  }
  console.log(`${table(rows)}\n`);
}

/** Nine in ten entries are one account's, every ten thousandth is another's, and a third has none. */
async function measureListing(size: number): Promise<void> {
  const [busy, rare, none] = ["ab", "cd", "ef"].map((byte) => byte.repeat(32)) as [
    OmniAccount,
    OmniAccount,
    OmniAccount,
  ];
  const owner = (n: number): OmniAccount =>
    n % 10_000 === 0 ? rare : n % 10 === 0 ? parseOmniAccount(sha256(String(n))) : busy;
  const open = async (begin: boolean): Promise<MerkleSignLog> =>
    openMerkleSignLog({
      ...{ files: await openLogFolder(join(folder, "listing")), counter, signer, clock, random, begin },
      settleEvery: 16_384,
    });
  const counter = memoryCounter();
  const made = await open(true);
  for (let n = 1; n < size; n += 256)
    await Promise.all(Array.from({ length: 256 }, (_, k) => made.append(recordOf(n + k, owner(n + k)))));
  await made.close();
  const log = await open(false);
  const rows = [["entries of one in " + String(log.head.size), "pages", "found", "CPU ms", "CPU ms per page"]];
  const list = async (name: string, account: OmniAccount, most: number): Promise<void> => {
    const start = process.cpuUsage();
    let [pages, found] = [0, 0];
    for (let before: number | undefined = log.head.size; before !== undefined && pages < most; pages++) {
      const page: Awaited<ReturnType<typeof log.entriesOf>> = await log.entriesOf(account, { before, limit: 50 });
      [found, before] = [found + page.entries.length, page.next];
    }
    const ms = cpuMs(start);
    rows.push([name, String(pages), String(found), ms.toFixed(1), (ms / pages).toFixed(2)]);
  };
  await list("unknown yet: one page of nothing", none, 1);
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  await log.audit();
  const audit = `${(performance.now() - start).toFixed(0)} ms (CPU ${cpuMs(cpu).toFixed(0)} ms)`;
  for (const [name, account] of [
    ["most", busy],
    ["one in 10,000", rare],
    ["none", none],
  ] as const)
    await list(name, account, 100);
  console.log(`${table(rows)}\naudit and index: ${audit}\n`);
  await log.close();
}

function cpuMs(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
