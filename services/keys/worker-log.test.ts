import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, onTestFinished, test } from "vitest";

import { systemRandom } from "@agentkeys/lib/random";

import { boot } from "./backends/tee/genesis.ts";
import type { MonotonicCounter } from "./backends/tee/sealer.ts";
import { createStateFile } from "./backends/tee/state-file.ts";
import { countersOf, memoryMachine, openVault } from "./backends/tee/testing/memory-parts.ts";
import type { TeeFlags } from "./settings-tee.ts";
import { recordOf } from "./sign-log/testing/harness.ts";
import { openWorkerLog, type WorkerLog } from "./worker-log.ts";

/** A machine with counters and a disk, of which parts can be kept and put back. */
function newMachine() {
  const root = mkdtempSync(join(tmpdir(), "agentkeys-worker-log-"));
  onTestFinished(() => rmSync(root, { recursive: true }));
  const machine = memoryMachine();
  const disk = join(root, "disk");
  mkdirSync(disk);
  const logCounter: MonotonicCounter & { value: bigint | undefined } = {
    value: undefined,
    read: () => Promise.resolve(logCounter.value),
    increment: () => Promise.resolve((logCounter.value = (logCounter.value ?? 70n) + 1n)),
  };
  const settings = { signer: "signer.example", stateFolder: disk, countEveryMs: 0 };
  const vault = openVault();

  async function start(flags: Partial<TeeFlags> = {}): Promise<WorkerLog> {
    const booted = await boot({
      file: createStateFile(join(disk, "state.json")),
      vault,
      counters: countersOf(machine),
      allowGenesis: machine.counters.genesis === undefined,
      ...flags,
      bootId: "b",
      clock: Date.now,
    });
    const all = { allowGenesis: false, ...flags };
    return openWorkerLog({ settings, flags: all, booted, counter: logCounter, clock: Date.now, random: systemRandom });
  }

  let copies = 0;
  return {
    machine,
    logCounter,
    start,
    /** Starts, has so many entries written, and stops in good order, or as if it were killed. */
    run: async (entries: number, flags: Partial<TeeFlags> = {}, how: "stop" | "kill" = "stop"): Promise<void> => {
      const workerLog = await start(flags);
      for (let n = 0; n < entries; n++) await workerLog.signLog.append(recordOf(n));
      if (how === "stop") await workerLog.close();
      // What is killed closes nothing; its file is let go of when the test is over.
      else onTestFinished(() => workerLog.signLog.close());
    },
    copy(): string {
      const copy = join(root, `copy${copies++}`);
      cpSync(disk, copy, { recursive: true });
      return copy;
    },
    putBack(copy: string, part: "state.json" | "sign-log"): void {
      rmSync(join(disk, part), { recursive: true });
      cpSync(join(copy, part), join(disk, part), { recursive: true });
    },
  };
}

const logRefused = (code: string): unknown => expect.objectContaining({ name: "SignLogError", code });
const bootRefused: unknown = expect.objectContaining({ name: "BootRefused", refusal: "ROLLED_BACK" });
/** The number that a refusal says to accept. */
const numberIn = (error: unknown): bigint => {
  const [, number] = /--accept-rollback=(\d+)/.exec(error instanceof Error ? error.message : "") ?? [];
  expect(number).toBeDefined();
  return BigInt(number ?? -1);
};
const refusal = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.fail("was not refused"),
    (error: unknown) => error,
  );

describe("a disk with parts of two times", () => {
  test("an older log beside the newest state is refused, after a kill too, whatever number somebody accepted before", async () => {
    const m = newMachine();
    await m.run(3);
    await m.run(2);
    const old = m.copy();
    await m.run(4, {}, "kill");
    m.putBack(old, "sign-log");
    await expect(m.run(0)).rejects.toEqual(logRefused("ROLLED_BACK"));
    // A number that is left over from another day accepts nothing.
    for (const acceptRollback of [0n, 1n, m.machine.counters.rollback ?? 0n]) {
      await expect(m.run(0, { acceptRollback })).rejects.toEqual(logRefused("ROLLED_BACK"));
    }
  });

  test("the newest log beside an older state is refused", async () => {
    const m = newMachine();
    await m.run(3);
    const old = m.copy();
    await m.run(2);
    m.putBack(old, "state.json");
    await expect(m.run(0)).rejects.toEqual(bootRefused);
  });

  test("an older log is accepted once by the number that its refusal names, stops in good order, and starts again", async () => {
    const m = newMachine();
    await m.run(3);
    const old = m.copy();
    await m.run(4);
    m.putBack(old, "sign-log");
    const acceptRollback = numberIn(await refusal(m.run(0)));
    await m.run(1, { acceptRollback });
    await m.run(1);
    m.putBack(old, "sign-log");
    await expect(m.run(0, { acceptRollback })).rejects.toEqual(logRefused("ROLLED_BACK"));
  });

  test("a whole older disk is accepted once, by the number of the state", async () => {
    const m = newMachine();
    await m.run(3);
    const old = m.copy();
    await m.run(4);
    m.putBack(old, "sign-log");
    m.putBack(old, "state.json");
    const acceptRollback = numberIn(await refusal(m.run(0)));
    await m.run(1, { acceptRollback });
    await m.run(1);
  });
});

test("a log that was forked without its counter noticing is not the one that the state knows", async () => {
  const m = newMachine();
  await m.run(3);
  const [before, counted] = [m.copy(), m.logCounter.value];
  const grown = async (n: number): Promise<string> => {
    m.putBack(before, "sign-log");
    m.logCounter.value = counted;
    const { signLog } = await m.start();
    for (let i = 0; i < n; i++) await signLog.append(recordOf(100 * n + i));
    await signLog.close();
    return m.copy();
  };
  const fork = await grown(8);
  m.putBack(before, "sign-log");
  m.logCounter.value = counted;
  await m.run(3);
  // Longer than the state's head, signed by its key, and by the counter the newest: but no continuation.
  m.logCounter.value = (counted ?? 0n) + 8n;
  m.putBack(fork, "sign-log");
  await expect(m.run(0)).rejects.toEqual(bootRefused);
});
