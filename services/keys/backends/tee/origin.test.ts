import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { template } from "@agentkeys/lib/tpm2";
import { hasSwtpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { boot, type Booted } from "./genesis.ts";
import { NV_RELEASES, nvCounters, startedCounter } from "./nv.ts";
import { deriveFor, extractKey, memoryRootKey } from "./root-key.ts";
import { exactPcrs, type SealPolicy } from "./seal-policy.ts";
import { createStateFile } from "./state-file.ts";
import {
  bootPartsOn,
  CODE_PCR,
  pcrAfter,
  startTpmMachine,
  testRelease,
  type TpmMachine,
} from "./testing/tpm-machine.ts";
import { formatTpm2Blob, parseTpm2Blob, type Tpm2Blob } from "./tpm2-blob.ts";
import { wrapUnderPolicy } from "./tpm2-object.ts";
import { tpm2Sealer } from "./tpm2-sealer.ts";
import { tpmHmacVault } from "./tpm-hmac-vault.ts";

const master = (): Buffer => Buffer.alloc(32, 0x5a);
const v1 = new Map([[CODE_PCR, pcrAfter("v1")]]);
/** For applications: it is zero after a boot, and any system leaves it so. */
const FREE_PCR = 23;
const release = testRelease();
const approved = release.policy("v1");

/** Policies as somebody's own code would follow them: the same digests, and no look at what runs. */
const policies: [string, () => SealPolicy, () => SealPolicy][] = [
  [
    "exact code",
    () => exactPcrs([CODE_PCR]),
    () => ({ ...exactPcrs([CODE_PCR]), prepare: () => Promise.resolve({ pcrs: v1 }) }),
  ],
  [
    "releases",
    () => approved,
    () => ({
      ...approved,
      prepare: async (t, session) => ({
        releases: { least: 0, counter: await startedCounter(t, NV_RELEASES, session) },
      }),
      maker: () => Promise.resolve({ pcrs: [CODE_PCR], approval: release.approve("v1") }),
    }),
  ],
];

describe.skipIf(!hasSwtpm("services/keys/backends/tee, origin", process.env)).each(policies)(
  "a master secret that somebody else sealed for %s",
  (_what, policy, blindly) => {
    let machine: TpmMachine;
    beforeEach(async () => {
      machine = await startTpmMachine();
    });
    afterEach(() => machine.stop());

    /** What who has the machine can do before the worker's first start, with a system of his own. */
    async function plant(how: "sealed" | "in the TPM", change: (blob: Tpm2Blob) => Tpm2Blob = (b) => b): Promise<void> {
      const tpm = await machine.power("somebody's own system");
      const known = memoryRootKey(master());
      const sealed =
        how === "sealed"
          ? Buffer.from(
              await tpm2Sealer({ tpm, policy: blindly() }).seal(master(), Buffer.from("agentkeys/root-key/v1")),
            )
          : formatTpm2Blob(
              await wrapUnderPolicy(tpm, blindly(), (d) => template.hmacKey(d, "brought-in"), extractKey(master())),
            );
      const blob = formatTpm2Blob(change(parseTpm2Blob(sealed)));
      const { genesis, rollback } = nvCounters(tpm);
      await genesis.increment();
      const type = how === "sealed" ? policy().type : `${policy().type}-hmac`;
      await createStateFile(machine.statePath).write(
        { vault: type, blob, createdAt: new Date(0), createdBootId: "b", counter: await rollback.increment() },
        known,
      );
    }

    const start = async (how: "sealed" | "in the TPM"): Promise<Booted> => {
      const tpm = await machine.power("v1");
      const vault = tpmHmacVault({ tpm, policy: policy() });
      return boot(bootPartsOn(machine, tpm, policy(), how === "sealed" ? {} : { vault }));
    };

    test.each(["sealed", "in the TPM"] as const)("is not opened (%s), since that system knows it", async (how) => {
      await plant(how);
      await expect(start(how)).rejects.toMatchObject({ name: "UnsealRefused", refusal: "ORIGIN" });
    });

    test("is not opened with the papers of one that the code made", async () => {
      const tpm = await machine.power("v1");
      const good = parseTpm2Blob(await tpm2Sealer({ tpm, policy: policy() }).seal(master(), Buffer.from("a purpose")));
      await plant("sealed", (blob) => ({ ...blob, origin: good.origin }));
      await expect(start("sealed")).rejects.toMatchObject({ name: "UnsealRefused", refusal: "ORIGIN" });
    });
  },
);

describe.skipIf(!hasSwtpm("services/keys/backends/tee, origin by a free PCR", process.env))("a seal", () => {
  test("to a PCR that anybody may set is not taken for one to those that the settings name", async () => {
    const machine = await startTpmMachine();
    const tpm = await machine.power("somebody's own system");
    const sealer = tpm2Sealer({ tpm, policy: exactPcrs([FREE_PCR]) });
    const blob = await sealer.seal(master(), Buffer.from("a purpose"));
    const later = tpm2Sealer({ tpm: await machine.power("v1"), policy: exactPcrs([CODE_PCR]) });
    await expect(later.unseal(blob, Buffer.from("a purpose"))).rejects.toMatchObject({ refusal: "APPROVAL" });
    await machine.stop();
  });
});

describe.skipIf(!hasSwtpm("services/keys/backends/tee, origin of releases", process.env))("a master secret", () => {
  test("that an earlier release made is opened by a later one, which need not know the earlier one's approval", async () => {
    const machine = await startTpmMachine();
    const first = await boot(bootPartsOn(machine, await machine.power("v1"), approved, { allowGenesis: true }));
    const later = await boot(bootPartsOn(machine, await machine.power("v2"), release.policy("v2")));
    expect((await deriveFor(later.key, "identity")).equals(await deriveFor(first.key, "identity"))).toBe(true);
    await machine.stop();
  });

  test("with an approval of its making that another key gave is not opened", async () => {
    const machine = await startTpmMachine();
    const own = testRelease();
    const tpm = await machine.power("evil");
    const evil = own.policy("evil");
    const blindly: SealPolicy = {
      ...approved,
      prepare: async (t, session) => ({
        releases: { least: 0, counter: await startedCounter(t, NV_RELEASES, session) },
      }),
      maker: (t) => evil.maker(t),
    };
    const blob = await tpm2Sealer({ tpm, policy: blindly }).seal(master(), Buffer.from("a purpose"));
    const later = await machine.power("v1");
    await expect(tpm2Sealer({ tpm: later, policy: approved }).unseal(blob, Buffer.from("a purpose"))).rejects.toThrow(
      expect.objectContaining({ refusal: "ORIGIN" }) as Error,
    );
    await machine.stop();
  });
});
