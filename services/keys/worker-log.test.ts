import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, onTestFinished, test } from "vitest";

import { systemRandom } from "@agentkeys/lib/random";

import { boot } from "./backends/tee/genesis.ts";
import type { MonotonicCounter } from "./backends/tee/sealer.ts";
import { createStateFile } from "./backends/tee/state-file.ts";
import { countersOf, hooked, memoryMachine, openVault, type StepHook } from "./backends/tee/testing/memory-parts.ts";
import { systemSteps, wholeFiles } from "./backends/tee/whole-files.ts";
import type { TeeFlags } from "./settings-tee.ts";
import { type LogFiles, openLogFolder } from "./sign-log/index.ts";
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

  async function start(flags: Partial<TeeFlags> = {}, hook: StepHook = () => undefined): Promise<WorkerLog> {
    const booted = await boot({
      file: createStateFile(join(disk, "state.json"), wholeFiles(hooked(systemSteps, hook))),
      vault,
      counters: countersOf(machine, hook),
      allowGenesis: machine.counters.genesis === undefined,
      ...flags,
      bootId: "b",
      clock: Date.now,
    });
    const all = { allowGenesis: false, ...flags };
    const counter = countedBy(logCounter, hook);
    const openFolder = async (folder: string): Promise<LogFiles> => hookedFiles(await openLogFolder(folder), hook);
    const parts = { settings, flags: all, booted, counter, clock: Date.now, random: systemRandom, openFolder };
    return openWorkerLog(parts);
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

function countedBy(counter: MonotonicCounter, hook: StepHook): MonotonicCounter {
  return {
    read: () => counter.read(),
    increment: async () => {
      hook("before log increment");
      const value = await counter.increment();
      hook("after log increment");
      return value;
    },
  };
}

/** Files with a hook before and after all that is written, and one in the middle of a frame. */
function hookedFiles(files: LogFiles, hook: StepHook): LogFiles {
  const around =
    <A extends unknown[]>(what: string, work: (...args: A) => Promise<void>) =>
    async (...args: A): Promise<void> => {
      hook(`before ${what}`);
      await work(...args);
      hook(`after ${what}`);
    };
  return {
    ...files,
    write: around("a log file", files.write),
    remove: around("removing", files.remove),
    openJournal: async (path) => {
      const journal = await files.openJournal(path);
      const write = async (bytes: Uint8Array, position: number): Promise<void> => {
        hook("before a frame");
        await journal.write(bytes.subarray(0, bytes.length / 2), position);
        hook("in the middle of a frame");
        await journal.write(bytes, position);
        hook("after a frame");
      };
      return {
        ...journal,
        write,
        sync: around("syncing", journal.sync),
        truncate: around("cutting", journal.truncate),
      };
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

test("a worker that ends at any step of its life starts again, with every answer that it gave", async () => {
  class Ended extends Error {}
  const steps: string[] = [];
  for (let at = 0; ; at++) {
    const m = newMachine();
    let [count, ended] = [0, undefined as string | undefined];
    const hook: StepHook = (step) => {
      if (ended === undefined && count++ !== at) return;
      ended ??= step;
      throw new Ended();
    };
    const answered: bigint[] = [];
    const live = async (): Promise<void> => {
      for (const n of [0, 1]) {
        const { signLog, ...log } = await m.start({}, hook);
        onTestFinished(() => signLog.close().catch(() => undefined));
        answered.push((await signLog.append(recordOf(n))).index);
        await log.close();
      }
    };
    await live().catch(() => expect(ended).toBeDefined());
    if (ended === undefined) break;
    steps.push(ended);
    const { signLog, ...log } = await m.start();
    await signLog.audit();
    const { entries } = await signLog.entriesOf(recordOf(0).omniAccount, { before: signLog.head.size, limit: 10 });
    expect(entries.map(({ index }) => BigInt(index))).toEqual(expect.arrayContaining(answered));
    await signLog.append(recordOf(9));
    await log.close();
    await m.run(1);
  }
  for (const step of ["in the middle of a frame", "after log increment", "after a log file", "after renaming"])
    expect(steps).toContain(step);
}, 120_000);

test("a worker of which any one write fails goes on or starts again, with every answer that it gave", async () => {
  const failed: string[] = [];
  for (let at = 0; ; at++) {
    const m = newMachine();
    let [count, step] = [0, undefined as string | undefined];
    const hook: StepHook = (name) => {
      if (count++ !== at) return;
      step = name;
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    };
    /** Once more where it failed: it fails once. */
    const twice = <T>(work: () => Promise<T>): Promise<T> =>
      work().catch((error: unknown) => {
        if (step === undefined) throw error;
        return work();
      });
    const answered: bigint[] = [];
    for (const n of [0, 1]) {
      const workerLog = await twice(() => m.start({}, hook));
      const { signLog } = workerLog;
      onTestFinished(() => signLog.close().catch(() => undefined));
      // After a failed sync nothing is known of the disk, and the log takes no more.
      const place = await twice(() => signLog.append(recordOf(n))).catch(() => {
        expect(step).toContain("syncing");
        return undefined;
      });
      if (place) answered.push(place.index);
      await workerLog.close().catch(() => {
        expect(step).toBeDefined();
      });
    }
    if (step === undefined) break;
    failed.push(step);
    const { signLog, ...log } = await m.start();
    await signLog.audit();
    const { entries } = await signLog.entriesOf(recordOf(0).omniAccount, { before: signLog.head.size, limit: 10 });
    expect(entries.map(({ index }) => BigInt(index))).toEqual(expect.arrayContaining(answered));
    await log.close();
  }
  for (const step of ["before a frame", "before syncing", "before log increment", "after a log file"])
    expect(failed).toContain(step);
}, 120_000);

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
