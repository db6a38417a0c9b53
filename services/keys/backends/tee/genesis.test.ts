import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rename, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { BootRefused, decideBoot, decideRollback } from "./boot-decision.ts";
import { boot, type Booted, type BootParts } from "./genesis.ts";
import { deriveFor } from "./root-key.ts";
import { type RootKeyVault, UnsealRefused } from "./sealer.ts";
import { createStateFile } from "./state-file.ts";
import {
  countersOf,
  hooked,
  type MemoryMachine,
  memoryMachine,
  memorySteps,
  openVault,
  type StepHook,
} from "./testing/memory-parts.ts";
import { systemSteps, type WholeFiles, wholeFiles } from "./whole-files.ts";

const PATH = "/state.json";
const HEAD = { size: 5n, root: "ab".repeat(32) };

class ProcessEnded extends Error {}

function filesOf(machine: MemoryMachine, hook: StepHook): WholeFiles {
  return {
    ...wholeFiles(hooked(memorySteps(machine), hook)),
    read: (path) => Promise.resolve(machine.files.get(path)),
  };
}

function partsOf(
  machine: MemoryMachine,
  changes: Partial<BootParts> = {},
  hook: StepHook = () => undefined,
): BootParts {
  return {
    file: createStateFile(PATH, filesOf(machine, hook)),
    vault: openVault(hook),
    counters: countersOf(machine, hook),
    allowGenesis: false,
    bootId: "b-1",
    clock: () => Date.UTC(2026, 10, 29),
    ...changes,
  };
}

const fingerprint = async ({ key }: Booted): Promise<string> => (await deriveFor(key, "identity")).toString("hex");
const refusalOf = async (work: Promise<unknown>): Promise<string> => {
  const error: unknown = await work.then(
    () => "was not refused",
    (reason: unknown) => reason,
  );
  if (error instanceof BootRefused || error instanceof UnsealRefused) return error.message;
  throw error;
};
const genesis = (machine: MemoryMachine): Promise<Booted> => boot(partsOf(machine, { allowGenesis: true }));

describe("the rule", () => {
  test("makes a master secret only without a state file, with leave, and where none was made before", () => {
    for (const stateFile of ["absent", "present"] as const) {
      for (const used of ["untouched", "used", "none"] as const) {
        for (const allowGenesis of [true, false]) {
          const decide = (): string => decideBoot({ stateFile, genesis: used, allowGenesis, recover: false });
          expect(decideBoot({ stateFile, genesis: used, allowGenesis, recover: true })).toBe(
            stateFile === "present" ? "open" : "recover",
          );
          if (stateFile === "present") expect(decide()).toBe("open");
          else if (used !== "used" && allowGenesis) expect(decide()).toBe("genesis");
          else expect(decide).toThrow(BootRefused);
        }
      }
    }
  });

  test("takes a disk that is at the counter or one step ahead, and an older one once, by the counter's value", () => {
    for (let nvCounter = 3n; nvCounter < 8n; nvCounter++) {
      for (let stateCounter = 0n; stateCounter < 10n; stateCounter++) {
        const near = stateCounter === nvCounter || stateCounter === nvCounter + 1n;
        const decide = (acceptRollback?: bigint) => () => decideRollback({ stateCounter, nvCounter, acceptRollback });
        if (near) expect(decide()()).toBe("current");
        else {
          expect(decide()).toThrow(/--accept-rollback=/);
          expect(decide(nvCounter - 1n)).toThrow(BootRefused);
          expect(decide(nvCounter)()).toBe("accepted");
        }
      }
    }
  });
});

describe("a worker", () => {
  let machine: MemoryMachine;
  beforeEach(() => {
    machine = memoryMachine();
  });

  test("has the same keys at every boot, and each boot moves the counter on", async () => {
    const first = await genesis(machine);
    expect(first.how).toBe("genesis");
    const second = await boot(partsOf(machine));
    expect(second.how).toBe("opened");
    expect(await fingerprint(second)).toBe(await fingerprint(first));
    expect(second.state.counter).toBe((first.state.counter ?? 0n) + 1n);
    expect(machine.counters.genesis).toBe(41n);
  });

  test("without a state file, or on a wiped disk, makes no other master secret", async () => {
    expect(await refusalOf(boot(partsOf(machine)))).toContain("--allow-genesis");
    await genesis(machine);
    machine.files.clear();
    expect(await refusalOf(genesis(machine))).toContain("restore the state file");
    expect(machine.files.size).toBe(0);
  });

  test("never makes a master secret because a seal does not open", async () => {
    await genesis(machine);
    const before = machine.files.get(PATH);
    const closed = { ...openVault(), open: () => Promise.reject(new UnsealRefused("MEASUREMENT", "PCR 11 is other")) };
    expect(await refusalOf(boot(partsOf(machine, { vault: closed, allowGenesis: true })))).toBe("PCR 11 is other");
    expect(machine.files.get(PATH)).toBe(before);
  });

  test("does not serve from an older disk until somebody accepts it, and then once", async () => {
    await genesis(machine);
    const old = machine.files.get(PATH) ?? "";
    const { state } = await boot(partsOf(machine));
    await state.advance(HEAD);
    machine.files.set(PATH, old);
    const refusal = await refusalOf(boot(partsOf(machine)));
    const value = /--accept-rollback=(\d+)/.exec(refusal)?.[1] ?? "";
    expect(refusal).toContain("restored from a backup");
    const accepted = await boot(partsOf(machine, { acceptRollback: BigInt(value) }));
    expect(accepted.how).toBe("rollback-accepted");
    expect((await boot(partsOf(machine))).how).toBe("opened");
    machine.files.set(PATH, old);
    expect(await refusalOf(boot(partsOf(machine, { acceptRollback: BigInt(value) })))).toContain(
      "restored from a backup",
    );
  });

  test("does not serve when the counter was deleted in the TPM", async () => {
    await genesis(machine);
    machine.counters.rollback = undefined;
    expect(await refusalOf(boot(partsOf(machine)))).toContain("--accept-rollback=0");
  });

  test("believes no state file that was changed, down to its counter and head", async () => {
    await genesis(machine);
    await (await boot(partsOf(machine))).state.advance(HEAD);
    const text = machine.files.get(PATH) ?? "";
    const changes = [
      text.replace(/"nv_counter": "\d+"/, '"nv_counter": "99"'),
      text.replace('"size": "5"', '"size": "4"'),
      text.replace(/"mac": "../, '"mac": "zz'),
      text.replace('"version": 1', '"version": 2'),
      text.replace('"version": 1', '"version": 1, "more": 1'),
      text.replace(/"created_at": "20../, '"created_at": "1999'),
      text.slice(0, -20),
      "",
      "null",
    ];
    for (const changed of changes) {
      machine.files.set(PATH, changed);
      expect(await refusalOf(boot(partsOf(machine)))).toMatch(/restore it from a backup|proper/);
    }
    machine.files.set(PATH, text);
    expect((await boot(partsOf(machine))).state.logHead).toEqual(HEAD);
  });

  test("does not open with other settings than it was made with", async () => {
    await genesis(machine);
    expect(await refusalOf(boot(partsOf(machine, { vault: { ...openVault(), type: "other" } })))).toContain(
      '"test-open"',
    );
    expect(await refusalOf(boot(partsOf(machine, { counters: "none" })))).toContain("the settings name none");
  });

  test("on a platform without counters keeps its keys and its head too", async () => {
    const first = await boot(partsOf(machine, { counters: "none", allowGenesis: true }));
    await first.state.advance(HEAD);
    const again = await boot(partsOf(machine, { counters: "none" }));
    expect(again.state.logHead).toEqual(HEAD);
    expect(again.state.counter).toBeUndefined();
    expect(await refusalOf(boot(partsOf(machine)))).toContain("goes with no NV counter");
  });

  test("keeps heads one after the other, and none that is shorter", async () => {
    const { state } = await genesis(machine);
    await Promise.all([1n, 2n, 3n].map((size) => state.advance({ ...HEAD, size })));
    expect(state.logHead?.size).toBe(3n);
    await expect(state.advance({ ...HEAD, size: 2n })).rejects.toThrow("shorter");
    expect((await boot(partsOf(machine))).state.logHead?.size).toBe(3n);
  });

  test("brings back the master secret of its backup where there is no state, and nowhere else", async () => {
    const master = Buffer.alloc(32, 7);
    const recovering = (): BootParts => partsOf(machine, { recover: () => openVault().bringIn(Buffer.from(master)) });
    const recovered = await boot(recovering());
    expect(recovered.how).toBe("recovered");
    expect(machine.counters.genesis).toBe(41n);
    expect((await boot(recovering())).how).toBe("opened");
    // The disk of the same machine is lost: its counter refuses another master secret, and lets this one come back.
    machine.files.clear();
    expect(await refusalOf(genesis(machine))).toContain("restore the state file");
    const again = await boot(recovering());
    expect(await fingerprint(again)).toBe(await fingerprint(recovered));
    expect(machine.counters.genesis).toBe(41n);
    // One that does not come back leaves nothing.
    machine.files.clear();
    const refused = new BootRefused("RECOVERY_REFUSED", "no custodian answers");
    const parts = partsOf(machine, { allowGenesis: true, recover: () => Promise.reject(refused) });
    expect(await refusalOf(boot(parts))).toBe("no custodian answers");
    expect(machine.files.size).toBe(0);
  });

  test("is made as its backup wants it, and only where one may be made", async () => {
    let made = 0;
    const create = () => {
      made += 1;
      return openVault().bringIn(Buffer.alloc(32, 9));
    };
    expect(await refusalOf(boot(partsOf(machine, { create })))).toContain("--allow-genesis");
    expect(made).toBe(0);
    const { how } = await boot(partsOf(machine, { create, allowGenesis: true }));
    await boot(partsOf(machine, { create, allowGenesis: true }));
    expect([how, made]).toEqual(["genesis", 1]);
  });

  test("notices another process that moves its counter", async () => {
    const { state } = await genesis(machine);
    machine.counters.rollback = (machine.counters.rollback ?? 0n) + 2n;
    await expect(state.advance(HEAD)).rejects.toThrow("moved by something else");
  });
});

describe("a process that ends at any step", () => {
  /** Lets a process end at its step `at`; `undefined` when it has no such step. */
  async function endAt(at: number, work: (hook: StepHook) => Promise<unknown>): Promise<string | undefined> {
    let count = 0;
    let ended: string | undefined;
    const hook: StepHook = (step) => {
      if (ended !== undefined || count++ === at) {
        ended ??= step;
        throw new ProcessEnded();
      }
    };
    await work(hook).catch((error: unknown) => {
      if (!(error instanceof ProcessEnded)) throw error;
    });
    return ended;
  }

  test("of the first boot leaves nothing, or what the next boot finishes", async () => {
    const steps: string[] = [];
    for (let at = 0; ; at++) {
      const machine = memoryMachine();
      const ended = await endAt(at, (hook) => boot(partsOf(machine, { allowGenesis: true }, hook)));
      if (ended === undefined) break;
      steps.push(ended);
      const next = await genesis(machine);
      const after = await boot(partsOf(machine));
      expect(await fingerprint(after)).toBe(await fingerprint(next));
      machine.files.clear();
      expect(await refusalOf(genesis(machine))).toContain("restore the state file");
    }
    expect(steps).toContain("in the middle of writing");
    expect(steps.at(-1)).toBe("after genesis increment");
  });

  test("of a recovery leaves nothing, or what the next boot finishes", async () => {
    const recover = (): ReturnType<RootKeyVault["bringIn"]> => openVault().bringIn(Buffer.alloc(32, 7));
    for (let at = 0; ; at++) {
      const machine = memoryMachine();
      const ended = await endAt(at, (hook) => boot(partsOf(machine, { recover }, hook)));
      const next = await boot(partsOf(machine, { recover }));
      const after = await boot(partsOf(machine));
      expect(await fingerprint(after)).toBe(await fingerprint(next));
      expect(machine.counters.genesis).toBe(41n);
      if (ended === undefined) break;
      expect(at).toBeLessThan(30);
    }
  });

  test("of a later boot or a checkpoint leaves the older state or the newer one, both of which open", async () => {
    for (let at = 0; ; at++) {
      const machine = memoryMachine();
      const first = await genesis(machine);
      const ended = await endAt(at, async (hook) => (await boot(partsOf(machine, {}, hook))).state.advance(HEAD));
      const after = await boot(partsOf(machine));
      expect(await fingerprint(after)).toBe(await fingerprint(first));
      if (ended === undefined) break;
      expect(at).toBeLessThan(30);
    }
  });
});

describe("the state file on a disk", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "agentkeys-state-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  test("is its owner's alone, takes the place of a leftover, and holds nothing that opens without the vault", async () => {
    const path = join(folder, "state.json");
    await writeFile(`${path}.new`, "half of a fil");
    const machine = memoryMachine();
    const file = createStateFile(path, wholeFiles(systemSteps));
    const { key } = await boot({ ...partsOf(machine), file, allowGenesis: true });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const again = await boot({ ...partsOf(machine), file });
    expect((await deriveFor(again.key, "log")).equals(await deriveFor(key, "log"))).toBe(true);
    await expect(stat(`${path}.new`)).rejects.toThrow("ENOENT");
    expect(await readFile(path, "utf8")).toMatch(/^\{\n {2}"version": 1,/);
  });

  test("that is a link, a pipe or far too long is not opened, and nothing is waited for", async () => {
    const path = join(folder, "state.json");
    const file = createStateFile(path, wholeFiles(systemSteps));
    const machine = memoryMachine();
    await boot({ ...partsOf(machine), file, allowGenesis: true });
    await rename(path, join(folder, "kept"));
    await symlink(join(folder, "kept"), path);
    await expect(boot({ ...partsOf(machine), file })).rejects.toThrow("ELOOP");
    await rm(path);
    execFileSync("mkfifo", [path]);
    expect(await refusalOf(boot({ ...partsOf(machine), file }))).toContain("is no JSON object");
    await rm(path);
    await writeFile(path, "");
    await truncate(path, 2 ** 34);
    expect(await refusalOf(boot({ ...partsOf(machine), file }))).toContain("is no JSON object");
    await rename(join(folder, "kept"), path);
    expect((await boot({ ...partsOf(machine), file })).how).toBe("opened");
  });
});
