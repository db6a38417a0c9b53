import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { boot } from "./genesis.ts";
import { deriveFor } from "./root-key.ts";
import { exactPcrs } from "./seal-policy.ts";
import { bootPartsOn, startTpmMachine, type TpmMachine } from "./testing/tpm-machine.ts";

/** Boots in a process of its own, which kills itself at that step. Whether it came through. */
async function bootAndDie(machine: TpmMachine, at: number): Promise<"done" | "killed"> {
  const program = join(import.meta.dirname, "testing", "boot-and-die.ts");
  const child = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), program, machine.statePath, machine.tpm.address.unix, String(at)],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  if (signal === "SIGKILL") return "killed";
  expect({ code, said }).toEqual({ code: 0, said: "done\n" });
  return "done";
}

describe.skipIf(!hasSwtpm("services/keys/backends/tee, killed", process.env))("a worker that is killed", () => {
  let machine: TpmMachine;
  beforeEach(async () => {
    machine = await startTpmMachine();
  });
  afterEach(() => machine.stop());

  const policy = exactPcrs([11]);
  const keysNow = async (allowGenesis: boolean): Promise<string> => {
    const tpm = await machine.tpm.open();
    try {
      const { key } = await boot(bootPartsOn(machine, tpm, policy, { allowGenesis }));
      return (await deriveFor(key, "identity")).toString("hex");
    } finally {
      await tpm.close();
    }
  };

  // Sixteen processes one after the other, on a machine that may have other things to do.
  test(
    "at any step of its first boot or of a checkpoint opens again, with keys that stay",
    { timeout: 240_000 },
    async () => {
      let known: string | undefined;
      let kills = 0;
      for (let at = 0; (await bootAndDie(machine, at)) === "killed"; at++) {
        kills++;
        // Before the state file is there a new master secret may be made, since none was ever used.
        const keys = await keysNow(known === undefined);
        expect(keys).toBe(known ?? keys);
        known = keys;
        expect(at).toBeLessThan(40);
        if (at < FIRST_BOOT_STEPS) {
          // The next one has to be a first boot as well: a TPM that was never used.
          await machine.stop();
          machine = await startTpmMachine();
          known = undefined;
        }
      }
      expect(kills).toBeGreaterThan(FIRST_BOOT_STEPS);
      await rm(machine.statePath);
      await expect(keysNow(true)).rejects.toThrow("restore the state file from a backup");
    },
  );
});

/** Two increments with a hook on each side, and five hooks in between. */
const FIRST_BOOT_STEPS = 9;
