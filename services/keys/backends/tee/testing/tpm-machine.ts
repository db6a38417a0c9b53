import { createHash, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import { type Approval, approve, extendedPcr, extendPcr, type Tpm } from "@agentkeys/lib/tpm2";
import { startTestTpm, type TestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { BootRefused } from "../boot-decision.ts";
import type { Booted, BootParts } from "../genesis.ts";
import { nvCounters } from "../nv.ts";
import { deriveFor } from "../root-key.ts";
import { releaseKey, type ReleaseKeyPolicy, type SealPolicy } from "../seal-policy.ts";
import { movingVault, sealedVault } from "../sealed-vault.ts";
import { UnsealRefused } from "../sealer.ts";
import { createStateFile } from "../state-file.ts";
import { tpmRandom } from "../tpm-random.ts";
import { tpm2Sealer } from "../tpm2-sealer.ts";

/** The PCR that tests measure the code into. */
export const CODE_PCR = 11;

/** A machine with a TPM and a disk, on which a worker of some release is booted. */
export interface TpmMachine {
  readonly tpm: TestTpm;
  /** A folder for the state file. */
  readonly disk: string;
  readonly statePath: string;
  /** Turns it off and on, and has the firmware measure this release. The connection is the test's until the next boot. */
  power(release: string, tap?: Buffer[]): Promise<Tpm>;
  stop(): Promise<void>;
}

export async function startTpmMachine(): Promise<TpmMachine> {
  const machine = await startTestTpm();
  const disk = await mkdtemp(join(tmpdir(), "agentkeys-disk-"));
  let connection: Tpm | undefined;
  const unplug = async (): Promise<void> => {
    await connection?.close();
    connection = undefined;
  };
  return {
    tpm: machine,
    disk,
    statePath: join(disk, "state.json"),
    power: async (release, tap) => {
      await unplug();
      await machine.reboot();
      connection = await machine.open(tap === undefined ? {} : { tap });
      await connection.use((t) => extendPcr(t, CODE_PCR, measurementOf(release)));
      return connection;
    },
    stop: async () => {
      await unplug();
      await machine.stop();
      await rm(disk, { recursive: true, force: true });
    },
  };
}

/** Which worker it is, in hex: the same as long as its master secret is. */
export async function identityOf({ key }: Booted): Promise<string> {
  return (await deriveFor(key, "identity")).toString("hex");
}

/** The refusal that it ends with; anything else is thrown. */
export async function refusalOf(work: Promise<unknown>): Promise<UnsealRefused | BootRefused> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof UnsealRefused || error instanceof BootRefused) return error;
  throw new Error("was not refused", { cause: error });
}

/** What a release is measured as. */
export function measurementOf(release: string): Buffer {
  return createHash("sha256").update(release).digest();
}

/** What the PCR holds after a release was booted. */
export function pcrAfter(release: string): Buffer {
  return extendedPcr(Buffer.alloc(32), measurementOf(release));
}

/** A release key and what it approves. */
export interface TestRelease {
  key: KeyObject;
  approve(release: string, securityVersion?: number): Approval;
  /** The policy of a worker that comes with approvals of these releases, of security version 0 where they are named only. */
  policy(...releases: (string | Approval)[]): ReleaseKeyPolicy;
}

export function testRelease(kind: "P-256" | "RSA" = "P-256"): TestRelease {
  const { privateKey, publicKey } =
    kind === "RSA"
      ? generateKeyPairSync("rsa", { modulusLength: 2048 })
      : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const approveRelease = (release: string, securityVersion = 0): Approval =>
    approve({ release, securityVersion, pcrs: new Map([[CODE_PCR, pcrAfter(release)]]) }, privateKey);
  return {
    key: publicKey,
    approve: approveRelease,
    policy: (...releases) =>
      releaseKey(
        publicKey,
        releases.map((one) => (typeof one === "string" ? approveRelease(one) : one)),
      ),
  };
}

/** What seals for `to` from now on what was sealed for `from`. */
export function movingOn(tpm: Tpm, from: SealPolicy, to: SealPolicy): Required<Pick<BootParts, "vault" | "former">> {
  return movingVault({
    from: tpm2Sealer({ tpm, policy: from }),
    to: tpm2Sealer({ tpm, policy: to }),
    hardwareRandom: tpmRandom(tpm),
    random: systemRandom,
  });
}

/** The parts of a boot on this machine, as the worker puts them together. */
export function bootPartsOn(
  machine: TpmMachine,
  tpm: Tpm,
  policy: SealPolicy,
  changes: Partial<BootParts> = {},
): BootParts {
  return {
    file: createStateFile(machine.statePath),
    vault: sealedVault({
      sealer: tpm2Sealer({ tpm, policy }),
      hardwareRandom: tpmRandom(tpm),
      random: systemRandom,
    }),
    counters: nvCounters(tpm),
    allowGenesis: false,
    bootId: "00000000-0000-4000-8000-000000000000",
    clock: systemClock,
    ...changes,
  };
}
