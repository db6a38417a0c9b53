import { randomBytes } from "node:crypto";

import type { Counters } from "../genesis.ts";
import { memoryRootKey } from "../root-key.ts";
import { type MonotonicCounter, type RootKeyVault, UnsealRefused } from "../sealer.ts";
import type { ReplaceSteps } from "../whole-files.ts";

/** Called before and after everything that outlives the process: throwing there is a process that ends there. */
export type StepHook = (step: string) => void;

/** A machine without a TPM: what a boot touches, in memory. It outlives the processes that a test lets end. */
export interface MemoryMachine {
  /** File contents by path. */
  files: Map<string, string>;
  counters: { genesis: bigint | undefined; rollback: bigint | undefined };
}

export function memoryMachine(): MemoryMachine {
  return { files: new Map(), counters: { genesis: undefined, rollback: undefined } };
}

export function countersOf(machine: MemoryMachine, hook: StepHook = () => undefined): Counters {
  const counter = (name: "genesis" | "rollback"): MonotonicCounter => ({
    read: () => Promise.resolve(machine.counters[name]),
    increment: async () => {
      await Promise.resolve();
      hook(`before ${name} increment`);
      // As a TPM does: the first value may be any.
      const value = (machine.counters[name] ?? 40n) + 1n;
      machine.counters[name] = value;
      hook(`after ${name} increment`);
      return value;
    },
  });
  return { genesis: counter("genesis"), rollback: counter("rollback") };
}

/** A vault that seals by doing nothing: the blob is the master secret. */
export function openVault(hook: StepHook = () => undefined): RootKeyVault {
  return {
    type: "test-open",
    create: async () => {
      const master = randomBytes(32);
      const blob = Buffer.from(master);
      await Promise.resolve();
      hook("after sealing");
      return { blob, key: memoryRootKey(master) };
    },
    bringIn: (master) => Promise.resolve({ blob: Buffer.from(master), key: memoryRootKey(Buffer.from(master)) }),
    open: (blob) =>
      blob.length === 32
        ? Promise.resolve(memoryRootKey(Buffer.from(blob)))
        : Promise.reject(new UnsealRefused("BLOB", "not a blob of this vault")),
  };
}

/** The steps of a replacement with a hook before and after each, and one in the middle of writing. */
export function hooked(steps: ReplaceSteps, hook: StepHook): ReplaceSteps {
  return {
    writeNew: async (path, contents) => {
      hook("before writing");
      await steps.writeNew(path, contents.slice(0, contents.length / 2));
      hook("in the middle of writing");
      await steps.writeNew(path, contents);
      hook("after writing");
    },
    rename: async (from, to) => {
      await steps.rename(from, to);
      hook("after renaming");
    },
    syncFolder: async (path) => {
      await steps.syncFolder(path);
      hook("after syncing the folder");
    },
  };
}

export function memorySteps({ files }: MemoryMachine): ReplaceSteps {
  return {
    writeNew: (path, contents) => Promise.resolve(void files.set(path, contents)),
    rename: async (from, to) => {
      await Promise.resolve();
      files.set(to, files.get(from) ?? "");
      files.delete(from);
    },
    syncFolder: () => Promise.resolve(),
  };
}
