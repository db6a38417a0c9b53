import { copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Tpm } from "@agentkeys/lib/tpm2";
import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { boot, type Booted, type BootParts } from "./genesis.ts";
import { NV_SEAL, nvCounter } from "./nv.ts";
import { releaseFloor } from "./release-floor.ts";
import { exactPcrs, type SealPolicy } from "./seal-policy.ts";
import { createStateFile } from "./state-file.ts";
import { tpmHmacVault } from "./tpm-hmac-vault.ts";
import { hooked } from "./testing/memory-parts.ts";
import {
  identityOf,
  refusalOf,
  bootPartsOn,
  CODE_PCR,
  movingOn,
  startTpmMachine,
  testRelease,
  type TestRelease,
  type TpmMachine,
} from "./testing/tpm-machine.ts";
import { systemSteps, wholeFiles } from "./whole-files.ts";

class ProcessEnded extends Error {}

describe.skipIf(!hasSwtpm("services/keys/backends/tee, reseal", process.env))(
  "a master secret that is sealed anew",
  () => {
    let machine: TpmMachine;
    let tpm: Tpm;
    let [old, next]: [TestRelease, TestRelease] = [testRelease(), testRelease()];
    beforeEach(async () => {
      machine = await startTpmMachine();
      [old, next] = [testRelease(), testRelease()];
    });
    afterEach(() => machine.stop());

    const start = async (code: string, policy: SealPolicy, changes: Partial<BootParts> = {}): Promise<Booted> => {
      tpm = await machine.power(code);
      return boot(bootPartsOn(machine, tpm, policy, changes));
    };
    /** With settings that say: opened by `from`, sealed for `to`. */
    const move = async (
      code: string,
      from: SealPolicy,
      to: SealPolicy,
      changes: Partial<BootParts> = {},
    ): Promise<Booted> => {
      tpm = await machine.power(code);
      return boot({ ...bootPartsOn(machine, tpm, to), ...movingOn(tpm, from, to), ...changes });
    };
    const genesis = { allowGenesis: true };
    const backup = (): string => join(machine.disk, "backup");

    test("for another release key has the same keys, and the old key's approvals open nothing any more", async () => {
      const keys = await identityOf(await start("v1", old.policy("v1"), genesis));
      await copyFile(machine.statePath, backup());
      const moved = await move("v2", old.policy("v1", "v2"), next.policy("v2"));
      expect([moved.resealed, await identityOf(moved)]).toEqual([true, keys]);

      // The same image again, and then one that knows the new key alone.
      const again = await move("v2", old.policy("v1", "v2"), next.policy("v2"));
      expect([again.resealed, await identityOf(again)]).toEqual([false, keys]);
      expect(await identityOf(await start("v3", next.policy("v2", "v3")))).toBe(keys);

      // Whoever has the old key: code of their own, and the disk as it is now, or as it was on a backup.
      expect(await refusalOf(start("evil", old.policy("v1", "v2", "evil")))).toMatchObject({ refusal: "APPROVAL" });
      const newest = await readFile(machine.statePath, "utf8");
      await copyFile(backup(), machine.statePath);
      for (const code of ["v1", "evil"]) {
        const closed = await refusalOf(start(code, old.policy("v1", "evil"), { acceptRollback: 1n }));
        expect(closed.refusal).toBe("BLOB");
        expect(closed.message).toContain("restore the newest state file");
      }
      await createStateFile(machine.statePath).read();
      await wholeFiles(systemSteps).replace(machine.statePath, newest);
      expect(await identityOf(await start("v3", next.policy("v3")))).toBe(keys);
    });

    test("is not, where the new key has not approved the release that does it: the old seal is as good as before", async () => {
      const keys = await identityOf(await start("v1", old.policy("v1"), genesis));
      const before = await readFile(machine.statePath, "utf8");
      const refusal = await refusalOf(move("v2", old.policy("v2"), next.policy("v3")));
      expect(refusal).toMatchObject({ refusal: "MEASUREMENT" });
      expect(await readFile(machine.statePath, "utf8")).toBe(before);
      expect(await identityOf(await start("v1", old.policy("v1")))).toBe(keys);
    });

    test("is not by a release that the old key has not approved, whatever the new one says", async () => {
      await start("v1", old.policy("v1"), genesis);
      expect(await refusalOf(move("evil", old.policy("v1"), next.policy("evil")))).toMatchObject({
        refusal: "MEASUREMENT",
      });
    });

    test("knows which releases were retired, and opens for older ones that were not", async () => {
      const before = old.policy(old.approve("v1", 1), old.approve("v2", 2), old.approve("v4", 4));
      await start("v1", before, genesis);
      const retiring = await start("v4", before);
      await releaseFloor({ tpm, policy: before }).retireBefore(retiring.blob, 2);
      const after = next.policy(next.approve("v1", 1), next.approve("v2", 2), next.approve("v4", 4));
      const moved = await move("v4", before, after);
      expect(await releaseFloor({ tpm, policy: after }).read(moved.blob)).toEqual({ running: 4, least: 2 });
      expect((await start("v2", after)).how).toBe("opened");
      expect(await refusalOf(start("v1", after))).toMatchObject({ refusal: "RETIRED" });
    });

    test("goes from exact PCRs to a release key, by the code that they are of", async () => {
      const exact = exactPcrs([CODE_PCR]);
      const keys = await identityOf(await start("v1", exact, genesis));
      await copyFile(machine.statePath, backup());
      // Without these settings nothing is guessed.
      expect((await refusalOf(start("v1", next.policy("v1")))).message).toContain('sealed by "tpm2-pcr"');
      const moved = await move("v1", exact, next.policy("v1", "v2"));
      expect([moved.resealed, await identityOf(moved)]).toEqual([true, keys]);
      expect(await identityOf(await start("v2", next.policy("v2")))).toBe(keys);
      await copyFile(backup(), machine.statePath);
      expect((await refusalOf(start("v1", exact))).message).toContain("restore the newest state file");
    });

    test("begins with the new key on a machine that has no master secret yet", async () => {
      const begun = await move("v1", old.policy("v1"), next.policy("v1"), genesis);
      expect([begun.how, begun.resealed]).toEqual(["genesis", false]);
      expect(await identityOf(await start("v1", next.policy("v1")))).toBe(await identityOf(begun));
    });

    test.each([
      ["", false],
      [", the first time by a process that ended before the older blob was void", true],
    ])("twice in a row leaves neither of the older blobs%s", async (_how, ends) => {
      const third = testRelease();
      const keys = await identityOf(await start("v1", old.policy("v1"), genesis));
      await copyFile(machine.statePath, backup());
      tpm = await machine.power("v1");
      const parts = {
        ...bootPartsOn(machine, tpm, next.policy("v1")),
        ...movingOn(tpm, old.policy("v1"), next.policy("v1")),
      };
      const endingVault = { ...parts.vault, retireOlder: () => Promise.reject(new ProcessEnded()) };
      const moving = boot({ ...parts, ...(ends && { vault: endingVault }) });
      if (ends) await expect(moving).rejects.toBeInstanceOf(ProcessEnded);
      else await moving;
      const between = join(machine.disk, "between");
      await copyFile(machine.statePath, between);
      const last = await move("v1", next.policy("v1"), third.policy("v1"));
      expect(await identityOf(last)).toBe(keys);
      for (const [copy, policy] of [
        [backup(), old.policy("v1")],
        [between, next.policy("v1")],
      ] as const) {
        await copyFile(copy, machine.statePath);
        expect((await refusalOf(start("v1", policy))).message).toContain("restore the newest state file");
      }
    });

    test("is refused for a root key that never leaves the TPM", async () => {
      const hmac = (policy: SealPolicy) => (t: Tpm) => ({ vault: tpmHmacVault({ tpm: t, policy }) });
      tpm = await machine.power("v1");
      await boot(bootPartsOn(machine, tpm, old.policy("v1"), { ...hmac(old.policy("v1"))(tpm), ...genesis }));
      expect((await refusalOf(move("v1", old.policy("v1"), next.policy("v1")))).message).toContain(
        'sealed by "tpm2-release-key-hmac", but the settings say "tpm2-release-key", then "tpm2-release-key"',
      );
    });

    test("opens after a process that ended at any step, and the older blob is void in the end", async () => {
      const keys = await identityOf(await start("v1", old.policy("v1"), genesis));
      const origin = await readFile(machine.statePath, "utf8");
      const steps: string[] = [];
      for (let at = 0; ; at++) {
        // Each round moves what the one before left: to and fro between the keys.
        const [from, to] = at % 2 === 0 ? [old, next] : [next, old];
        const before = await readFile(machine.statePath, "utf8");
        let count = 0;
        let ended: string | undefined;
        const hook = (step: string): void => {
          if (ended !== undefined || count++ === at) {
            ended ??= step;
            throw new ProcessEnded();
          }
        };
        tpm = await machine.power("v1");
        const parts = {
          ...bootPartsOn(machine, tpm, to.policy("v1")),
          ...movingOn(tpm, from.policy("v1"), to.policy("v1")),
        };
        const { vault, counters, former } = parts;
        if (counters === "none") throw new Error("no counters");
        const died = await boot({
          ...parts,
          file: createStateFile(machine.statePath, wholeFiles(hooked(systemSteps, hook))),
          former: {
            vault: former.vault,
            reseal: async (blob) => {
              hook("before sealing");
              const made = await former.reseal(blob);
              hook("after sealing");
              return made;
            },
          },
          vault: {
            ...vault,
            retireOlder: async (blob) => {
              hook("before the older blob is void");
              await vault.retireOlder?.(blob);
              hook("after the older blob is void");
            },
          },
          counters: {
            ...counters,
            rollback: {
              read: () => counters.rollback.read(),
              increment: async () => {
                hook("before counting");
                const value = await counters.rollback.increment();
                hook("after counting");
                return value;
              },
            },
          },
        }).catch((error: unknown) => {
          if (!(error instanceof ProcessEnded)) throw error;
          return undefined;
        });
        if (died === undefined) steps.push(ended ?? "");

        const after = await move("v1", from.policy("v1"), to.policy("v1"));
        expect(await identityOf(after)).toBe(keys);
        expect(await identityOf(await start("v1", to.policy("v1")))).toBe(keys);
        expect(await refusalOf(start("v1", from.policy("v1")))).toMatchObject({ refusal: "APPROVAL" });
        const now = await readFile(machine.statePath, "utf8");
        for (const older of [before, origin]) {
          await wholeFiles(systemSteps).replace(machine.statePath, older);
          expect(await refusalOf(start("v1", (older === origin ? old : from).policy("v1")))).toMatchObject({
            refusal: "BLOB",
          });
        }
        await wholeFiles(systemSteps).replace(machine.statePath, now);
        if (died !== undefined) break;
      }
      expect(steps).toContain("before the older blob is void");
      expect(steps.at(-1)).toBe("after the older blob is void");
      expect(await nvCounter(tpm, NV_SEAL).read()).toBeDefined();
    }, 120_000);
  },
);
