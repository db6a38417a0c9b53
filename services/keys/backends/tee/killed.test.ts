import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { copyFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";

import { formatApprovals } from "@agentkeys/lib/tpm2";
import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { boot } from "./genesis.ts";
import { releaseFloor } from "./release-floor.ts";
import { deriveFor } from "./root-key.ts";
import { exactPcrs, releaseKey } from "./seal-policy.ts";
import { builtProgram } from "../../testing/built-program.ts";
import { bootPartsOn, movingOn, startTpmMachine, testRelease, type TpmMachine } from "./testing/tpm-machine.ts";

const folder = mkdtempSync(join(tmpdir(), "agentkeys-killed-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const programs = {
  boot: builtProgram(join(import.meta.dirname, "testing", "boot-and-die.ts"), folder),
  move: builtProgram(join(import.meta.dirname, "testing", "move-and-die.ts"), folder),
};

/** Boots in a process of its own, which kills itself at that step. Whether it came through. */
async function bootAndDie(machine: TpmMachine, at: number, name: "boot" | "move" = "boot"): Promise<"done" | "killed"> {
  const args = [machine.statePath, machine.tpm.address.unix, String(at), machine.disk];
  const child = spawn(process.execPath, [programs[name], ...args], { stdio: ["ignore", "pipe", "pipe"] });
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

  test(
    "at any step of moving to another release key and of retiring releases finishes both at its next start",
    { timeout: 240_000 },
    async () => {
      const [old, next] = [testRelease(), testRelease()];
      const approvals = [old.approve("v1", 1), old.approve("v3", 3), next.approve("v1", 1), next.approve("v3", 3)];
      const [before, after] = [old, next].map(({ key }) => releaseKey(key, approvals));
      if (before === undefined || after === undefined) throw new Error("two policies");
      let kills = 0;
      for (let outcome = "killed"; outcome === "killed"; kills++) {
        await machine.stop();
        machine = await startTpmMachine();
        await writeFile(join(machine.disk, "approvals.json"), formatApprovals(approvals));
        await writeFile(join(machine.disk, "old.pem"), old.key.export({ format: "pem", type: "spki" }));
        await writeFile(join(machine.disk, "next.pem"), next.key.export({ format: "pem", type: "spki" }));
        const begun = await machine.power("v1");
        const { key } = await boot(bootPartsOn(machine, begun, before, { allowGenesis: true }));
        const known = await deriveFor(key, "identity");
        await copyFile(machine.statePath, join(machine.disk, "backup"));
        await (await machine.power("v3")).close();
        outcome = await bootAndDie(machine, kills, "move");

        const tpm = await machine.power("v3");
        const booted = await boot({ ...bootPartsOn(machine, tpm, after), ...movingOn(tpm, before, after) });
        expect(await deriveFor(booted.key, "identity")).toEqual(known);
        const releases = await releaseFloor({ tpm, policy: after }).retireBefore(booted.blob, 3);
        expect(releases).toEqual({ running: 3, least: 3 });
        // Neither the release that was retired nor the key that was left opens anything, of now or from the backup.
        const older = await machine.power("v1");
        await expect(boot(bootPartsOn(machine, older, after))).rejects.toMatchObject({ refusal: "RETIRED" });
        await copyFile(join(machine.disk, "backup"), machine.statePath);
        await expect(boot(bootPartsOn(machine, older, before))).rejects.toMatchObject({ refusal: "BLOB" });
        expect(kills).toBeLessThan(40);
      }
      expect(kills).toBeGreaterThan(MOVING_STEPS);
    },
  );
});

/** Four increments with a hook on each side, and five hooks of the file's replacement. */
const MOVING_STEPS = 13;

/** Two increments with a hook on each side, and five hooks in between. */
const FIRST_BOOT_STEPS = 9;
