import { copyFile } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import {
  approvalReference,
  defineCounter,
  incrementCounter,
  nameOf,
  policyAuthorize,
  policyCounterAtMost,
  policyOfPcrs,
  policyOr,
  policyPcr,
  startSession,
  storageRoot,
  template,
  type Tpm,
  TpmError,
  undefineNv,
} from "@agentkeys/lib/tpm2";
import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { boot, type Booted, type BootParts } from "./genesis.ts";
import { NV_RELEASES, NV_SEAL, nvCounter } from "./nv.ts";
import { type Releases, releaseFloor } from "./release-floor.ts";
import { releaseKey, type ReleaseKeyPolicy, releasesFrom, SECURITY_VERSIONS, type SealPolicy } from "./seal-policy.ts";
import { parseTpm2Blob } from "./tpm2-blob.ts";
import { useUnderPolicy } from "./tpm2-object.ts";
import { tpmHmacVault } from "./tpm-hmac-vault.ts";
import {
  identityOf,
  refusalOf,
  bootPartsOn,
  startTpmMachine,
  testRelease,
  type TestRelease,
  type TpmMachine,
} from "./testing/tpm-machine.ts";

describe.skipIf(!hasSwtpm("services/keys/backends/tee, releases", process.env))("releases of one key", () => {
  let machine: TpmMachine;
  let tpm: Tpm;
  let release: TestRelease;
  /** `v3` has security version 3, and is measured as `v3`. */
  let policy: (...versions: number[]) => ReleaseKeyPolicy;
  beforeEach(async () => {
    machine = await startTpmMachine();
    release = testRelease();
    policy = (...versions) => release.policy(...versions.map((version) => release.approve(`v${version}`, version)));
  });
  afterEach(() => machine.stop());

  type Mode = (policy: SealPolicy) => Partial<BootParts>;
  const inMemory: Mode = () => ({});
  const inTpm: Mode = (policyNow) => ({ vault: tpmHmacVault({ tpm, policy: policyNow }) });
  const start = async (code: string, policyNow: SealPolicy, changes: Mode = inMemory): Promise<Booted> => {
    tpm = await machine.power(code);
    return boot(bootPartsOn(machine, tpm, policyNow, changes(policyNow)));
  };
  const begin =
    (more = inMemory): Mode =>
    (policyNow) => ({ ...more(policyNow), allowGenesis: true });
  const retireBefore = (policyNow: ReleaseKeyPolicy, { blob }: Booted, version: number): Promise<Releases> =>
    releaseFloor({ tpm, policy: policyNow }).retireBefore(blob, version);

  describe.each([
    ["in memory", inMemory],
    ["in the TPM", inTpm],
  ])("with the root key %s", (_where, mode) => {
    test("open one after the other, and back, until an operator retires the older ones", async () => {
      const all = policy(1, 2, 3);
      const keys = await identityOf(await start("v1", all, begin(mode)));
      expect(await identityOf(await start("v3", all, mode))).toBe(keys);
      expect(await identityOf(await start("v1", all, mode))).toBe(keys);

      const second = await start("v2", all, mode);
      expect(await retireBefore(all, second, 2)).toEqual({ running: 2, least: 2 });
      const old = await refusalOf(start("v1", all, mode));
      expect(old).toMatchObject({ refusal: "RETIRED" });
      expect(old.message).toContain(
        "v1 has security version 1, which was retired: the master secret opens for 2 and later",
      );
      expect(await identityOf(await start("v2", all, mode))).toBe(keys);

      const third = await start("v3", all, mode);
      expect(await identityOf(third)).toBe(keys);
      expect(await retireBefore(all, third, 3)).toEqual({ running: 3, least: 3 });
      expect(await refusalOf(start("v2", all, mode))).toMatchObject({ refusal: "RETIRED" });
      expect(await identityOf(await start("v3", all, mode))).toBe(keys);
    });
  });

  test("below the one that made the master secret never open it", async () => {
    const all = policy(1, 2);
    await start("v2", all, begin());
    expect(await refusalOf(start("v1", all))).toMatchObject({ refusal: "RETIRED" });
  });

  test("are retired up to the one that runs, no further, and nothing is retired twice", async () => {
    const all = policy(1, 3);
    await start("v1", all, begin());
    const third = await start("v3", all);
    const counter = nvCounter(tpm, NV_RELEASES);
    const before = (await counter.read()) ?? 0n;
    const beyond = await refusalOf(retireBefore(all, third, 4));
    expect(beyond).toMatchObject({ refusal: "CANNOT_RETIRE" });
    expect(await counter.read()).toBe(before);
    expect(await retireBefore(all, third, 3)).toEqual({ running: 3, least: 3 });
    expect(await retireBefore(all, third, 3)).toEqual({ running: 3, least: 3 });
    expect(await retireBefore(all, third, 1)).toEqual({ running: 3, least: 3 });
    expect(await counter.read()).toBe(before + 2n);
  });

  test("are retired to the end by the next start, where a process ended in between", async () => {
    const all = policy(1, 4, 5);
    await start("v1", all, begin());
    const fifth = await start("v5", all);
    // Two of four steps, as a process leaves it that is killed between them.
    await nvCounter(tpm, NV_RELEASES).increment();
    await nvCounter(tpm, NV_RELEASES).increment();
    expect(await releaseFloor({ tpm, policy: all }).read(fifth.blob)).toEqual({ running: 5, least: 3 });
    expect(await retireBefore(all, await start("v5", all), 5)).toEqual({ running: 5, least: 5 });
    expect(await refusalOf(start("v4", all))).toMatchObject({ refusal: "RETIRED" });
  });

  test("stay retired on a disk from before, whatever is approved there", async () => {
    const all = policy(1, 2);
    await start("v1", all, begin());
    const backup = join(machine.disk, "backup");
    await copyFile(machine.statePath, backup);
    await retireBefore(all, await start("v2", all), 2);
    await copyFile(backup, machine.statePath);
    expect(await refusalOf(start("v1", policy(1)))).toMatchObject({ refusal: "RETIRED" });
  });

  test("with approvals that somebody else wrote a version into do not open", async () => {
    const all = policy(1, 2);
    await start("v1", all, begin());
    await retireBefore(all, await start("v2", all), 2);
    const forged = releaseKey(release.key, [{ ...release.approve("v1", 1), securityVersion: 2 }]);
    expect(await refusalOf(start("v1", forged))).toMatchObject({ refusal: "APPROVAL" });
    const foreign = testRelease();
    const stranger = releaseKey(release.key, [foreign.approve("v1", 2)]);
    expect(await refusalOf(start("v1", stranger))).toMatchObject({ refusal: "APPROVAL" });
  });

  test("approved anew with a later version open again, since the key's holder says so", async () => {
    const all = policy(1, 2);
    const keys = await identityOf(await start("v1", all, begin()));
    await retireBefore(all, await start("v2", all), 2);
    const anew = release.policy(release.approve("v1", 1), release.approve("v1", 2));
    expect(await identityOf(await start("v1", anew))).toBe(keys);
  });

  test("beyond what the seal knows are refused in words, and open by an approval within it", async () => {
    const far = SECURITY_VERSIONS;
    await start("v0", policy(0), begin());
    const refusal = await refusalOf(start(`v${far}`, policy(0, far)));
    expect(refusal.message).toContain(`has security version ${far}, and the seal knows those from 0 to ${far - 1}`);
    const both = release.policy(release.approve(`v${far}`, far), release.approve(`v${far}`, far - 1));
    expect((await start(`v${far}`, both)).how).toBe("opened");
  });

  test("retired, find the TPM itself closed, whatever they send it", async () => {
    const all = policy(1, 2);
    await start("v1", all, begin());
    const { blob } = await start("v2", all);
    await releaseFloor({ tpm, policy: all }).retireBefore(blob, 2);
    tpm = await machine.power("v1");
    const sealed = parseTpm2Blob(blob);
    if (!("releases" in sealed.terms.code)) throw new Error("no terms of releases");
    const { least, counter } = sealed.terms.code.releases;
    const { pcrs, signature } = release.approve("v1", 1);

    /** As an attacker does who has taken the old release over: all of its steps, with `asked` for the counter and `place` among the versions. */
    const opening = (asked: bigint, place: number): Promise<unknown> => {
      const steps = releasesFrom(nameOf(template.verificationKey(release.key)), { least, counter }).steps(place);
      const lying: SealPolicy = {
        ...all,
        satisfy: async (t, session) => {
          await policyPcr(t, session, [...pcrs.keys()]);
          await policyAuthorize(t, session, {
            key: template.verificationKey(release.key),
            policy: policyOfPcrs(pcrs),
            reference: approvalReference(1),
            signature,
          });
          await policyCounterAtMost(t, session, NV_RELEASES, asked);
          for (const step of steps) await policyOr(t, session, step);
        },
      };
      return useUnderPolicy(tpm, lying, sealed, () => Promise.resolve("open"));
    };
    expect(await refusalOf(opening(counter + BigInt(1 - least), 0))).toMatchObject({ refusal: "RETIRED" });
    const otherLimit = await refusalOf(opening(counter + BigInt(2 - least), 0));
    expect(otherLimit.cause).toBeInstanceOf(TpmError);
    expect((otherLimit.cause as TpmError).is("value")).toBe(true);
    const otherPlace = await refusalOf(opening(counter + BigInt(2 - least), 1));
    expect((otherPlace.cause as TpmError).is("value")).toBe(true);
  });

  test("that somebody else has counted out open again by an approval of a later version, as far as the seal knows them", async () => {
    const all = policy(1);
    const keys = await identityOf(await start("v1", all, begin()));
    const count = (steps: number): Promise<void> =>
      tpm.use(async (t) => {
        const session = await startSession(t, "hmac", await storageRoot(t));
        for (let step = 0; step < steps; step++) await incrementCounter(t, NV_RELEASES, session);
      });
    await count(3);
    expect((await refusalOf(start("v1", all))).message).toContain("the master secret opens for 4 and later");
    expect(await identityOf(await start("v1", release.policy(release.approve("v1", 4))))).toBe(keys);
    await count(SECURITY_VERSIONS - 4);
    const last = release.policy(release.approve("v1", SECURITY_VERSIONS));
    expect(await identityOf(await start("v1", last))).toBe(keys);
    await count(1);
    expect((await refusalOf(start("v1", last))).message).toContain("beyond every release that the seal knows");
  });

  test.each([
    ["of retired releases", NV_RELEASES],
    ["of seals", NV_SEAL],
  ])(
    "gain nothing by a counter %s that is deleted and made anew, which opens nothing any more",
    async (_which, index) => {
      const all = policy(1, 2);
      await start("v1", all, begin());
      await retireBefore(all, await start("v2", all), 2);
      await tpm.use((t) => undefineNv(t, index));
      for (const version of [1, 2]) {
        const closed = await refusalOf(start(`v${version}`, all));
        expect(closed.refusal).toBe("BLOB");
        expect(closed.message).toContain("was deleted in this TPM");
      }
      await tpm.use((t) => defineCounter(t, index));
      await nvCounter(tpm, index).increment();
      for (const version of [1, 2]) {
        expect((await refusalOf(start(`v${version}`, all))).refusal).toBe(index === NV_SEAL ? "BLOB" : "RETIRED");
      }
    },
  );
});
