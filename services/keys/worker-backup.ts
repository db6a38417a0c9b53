import { readFile } from "node:fs/promises";
import { join } from "node:path";

import type { Clock } from "@agentkeys/lib/clock";
import type { SettingValue } from "@agentkeys/lib/evidence/claims";
import type { Logger } from "@agentkeys/lib/log";
import type { RandomBytes } from "@agentkeys/lib/random";

import { BackupError } from "./backends/tee/backup/backup-error.ts";
import { createBackupRecord } from "./backends/tee/backup/backup-record.ts";
import { type Backup, type PreparedBackup, prepareBackup } from "./backends/tee/backup/deposit.ts";
import { machineIn } from "./backends/tee/backup/machine.ts";
import { backupIdOf } from "./backends/tee/backup/manifest.ts";
import { createVoucher } from "./backends/tee/backup/peer-evidence.ts";
import type { BackupPlan } from "./backends/tee/backup/plan.ts";
import { recoverMasterSecret } from "./backends/tee/backup/recovery.ts";
import { BootRefused } from "./backends/tee/boot-decision.ts";
import type { Booted, BootParts } from "./backends/tee/genesis.ts";
import type { Hardware } from "./backends/tee/hardware.ts";
import { ed25519KeyFor, memoryRootKey } from "./backends/tee/root-key.ts";
import { makeMasterSecret } from "./backends/tee/sealed-vault.ts";
import type { RootKey } from "./backends/tee/sealer.ts";
import { version } from "./version.ts";

/** The backup of a worker's own master secret. */
export interface WorkerBackup {
  /** For `boot`: a new master secret is used only when every custodian has its share of it. */
  create: NonNullable<BootParts["create"]>;
  /** For `boot`: the master secret as the custodians have it, for a machine that the ticket in this file names. */
  recoverBy: (ticketFile: string) => NonNullable<BootParts["recover"]>;
  /**
   * Backs up what is not backed up as the plan says. A worker that has wallets goes on without it, says so, and tries again until the
   * function that is returned has ended it.
   */
  catchUp: (booted: Booted) => Promise<() => Promise<void>>;
}

export interface WorkerBackupParts {
  plan: BackupPlan;
  settings: { signer: string; stateFolder: string };
  /** What the evidence says of this worker's settings. */
  claimed: Readonly<Record<string, SettingValue>>;
  hardware: Pick<Hardware, "vault" | "provider" | "hardwareRandom">;
  log: Logger;
  clock: Clock;
  random: RandomBytes;
  /** Calls `work` some time later, for custodians that were away; returns what calls that off. */
  later: (work: () => void) => () => void;
}

/** More than a ticket takes. */
const MAX_TICKET_BYTES = 4096;

export function createWorkerBackup(parts: WorkerBackupParts): WorkerBackup {
  const { plan, hardware, claimed, log, clock, random, later } = parts;
  const { signer, stateFolder } = parts.settings;
  const { vault, provider } = hardware;
  const record = createBackupRecord(join(stateFolder, "backup.json"));
  const vouch = createVoucher({ provider, settings: claimed, version: version(), clock });

  const prepare = async (masterSecret: Uint8Array, key: RootKey): Promise<PreparedBackup> => {
    const identityKey = await ed25519KeyFor(key, "identity");
    return await prepareBackup(masterSecret, { plan, signer, identityKey, vouch, clock, random });
  };

  /** Deposits what is left to deposit, and keeps the receipts. @throws BackupError */
  const finish = async (prepared: PreparedBackup, key: RootKey): Promise<void> => {
    const backup = await prepared.deposit();
    await record.write(backup, key);
    log.info(inWords(plan, backup), "backed up: keep the id with the recovery key");
  };

  /** @throws BackupError */
  const backUp = async (masterSecret: Uint8Array): Promise<void> => {
    // A root key takes its master secret over, and zeroes it.
    const key = memoryRootKey(Buffer.from(masterSecret));
    let prepared: PreparedBackup | undefined;
    try {
      prepared = await prepare(masterSecret, key);
      await finish(prepared, key);
    } finally {
      prepared?.destroy();
      key.destroy();
    }
  };

  const tellNotBackedUp = (error: unknown): void => {
    const known = error instanceof BackupError;
    const why = known ? error.message : "it went wrong inside this worker";
    log.error({ why, ...(!known && { err: error }) }, "NOT BACKED UP as the settings say");
  };

  /** Before anything is asked of custodians that may not know this machine yet: somebody has to tell them. */
  const introduce = async (): Promise<string> => {
    const evidence = await provider.evidence(random(32), random(32));
    const machine = machineIn(evidence, new Date(clock()));
    log.info({ machine }, "this machine, for the settings of custodians and for recovery tickets");
    return machine === undefined ? "another value" : `${machine.type} ${machine.name}=${machine.value}`;
  };

  return {
    create: async () => {
      await introduce();
      const masterSecret = await makeMasterSecret({ hardwareRandom: hardware.hardwareRandom, random });
      try {
        await backUp(masterSecret);
        return await vault.bringIn(masterSecret);
      } catch (error) {
        throw asRefusal("BACKUP_INCOMPLETE", error);
      } finally {
        masterSecret.fill(0);
      }
    },

    recoverBy: (ticketFile) => async () => {
      const machine = await introduce();
      const ticket = await readTicket(ticketFile, machine);
      const warn = (why: string): void => log.warn({ why }, "no share from a custodian");
      let masterSecret: Buffer | undefined;
      try {
        const recovered = await recoverMasterSecret({ plan, signer, ticket, vouch, clock, random, warn });
        masterSecret = recovered.masterSecret;
        log.warn({ backup_id: backupIdOf(recovered.manifest) }, "master secret recovered from its custodians");
        const sealed = await vault.bringIn(masterSecret);
        // Where the key stays in a TPM from now on, this is the last moment for a backup of this machine's own.
        if (vault.reveal === undefined) await backUp(masterSecret).catch(tellNotBackedUp);
        return sealed;
      } catch (error) {
        throw asRefusal("RECOVERY_REFUSED", error);
      } finally {
        masterSecret?.fill(0);
      }
    },

    catchUp: async ({ key, blob, how }) => {
      const nothing = (): Promise<void> => Promise.resolve();
      if (how === "genesis" || (await record.has(plan, key))) return nothing;
      if (vault.reveal === undefined) {
        const why = "a root key in the TPM can be backed up at its genesis and at its recovery only";
        if (how !== "recovered") tellNotBackedUp(new BackupError(why));
        return nothing;
      }
      const masterSecret = await vault.reveal(blob);
      const prepared = await prepare(masterSecret, key).finally(() => masterSecret.fill(0));
      const over = (): void => prepared.destroy();
      return untilDone(() => finish(prepared, key), { later, failed: tellNotBackedUp, over });
    },
  };
}

/** Tries at once, and again later as long as it fails; nobody waits for it. The function that is returned ends it. */
function untilDone(
  work: () => Promise<void>,
  { later, failed, over }: { later: WorkerBackupParts["later"]; failed: (error: unknown) => void; over: () => void },
): () => Promise<void> {
  let callOff = (): void => undefined;
  let ended = false;
  const attempt = async (): Promise<void> => {
    try {
      await work();
      over();
    } catch (error) {
      failed(error);
      if (!ended) callOff = later(() => void (working = attempt()));
    }
  };
  let working = attempt();
  return async () => {
    ended = true;
    callOff();
    await working;
    over();
  };
}

/** What an operator needs of it, when this machine is gone. */
function inWords({ threshold, custodians }: BackupPlan, { manifest }: Backup): Record<string, unknown> {
  return { backup_id: backupIdOf(manifest), threshold, custodians: custodians.map(({ url }) => url) };
}

async function readTicket(path: string, machine: string): Promise<string> {
  const text = await readFile(path, "latin1").catch(() => "");
  const ticket = text.trim();
  if (ticket !== "" && text.length <= MAX_TICKET_BYTES) return ticket;
  throw new BootRefused(
    "RECOVERY_REFUSED",
    `${path} holds no recovery ticket: the holder of the recovery key has to sign one for this machine, which is ${machine}`,
  );
}

function asRefusal(refusal: "BACKUP_INCOMPLETE" | "RECOVERY_REFUSED", error: unknown): unknown {
  if (!(error instanceof BackupError)) return error;
  const end =
    refusal === "BACKUP_INCOMPLETE" ? "; no master secret was made" : "; nothing was recovered, and nothing was made";
  return new BootRefused(refusal, error.message + end, { cause: error });
}
