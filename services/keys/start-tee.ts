import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { type Clock, MINUTE, systemClock } from "@agentkeys/lib/clock";
import { createLog, type Logger } from "@agentkeys/lib/log";
import { Registry, serveMetrics } from "@agentkeys/lib/metrics";
import { type RandomBytes, systemRandom } from "@agentkeys/lib/random";
import type { RunningServer } from "@agentkeys/lib/rpc";

import { BootRefused } from "./backends/tee/boot-decision.ts";
import { warnOfCoreDumps } from "./backends/tee/core-dumps.ts";
import { tryEvidence } from "./backends/tee/evidence-trial.ts";
import { claimFolder } from "./backends/tee/folder-claim.ts";
import { boot } from "./backends/tee/genesis.ts";
import { type HardwareDependencies, openHardware } from "./backends/tee/hardware.ts";
import { mayRetireBefore, runningReleases } from "./backends/tee/release-floor.ts";
import { createStateFile } from "./backends/tee/state-file.ts";
import { createTlsIdentity } from "./backends/tee/tls-identity.ts";
import { claimedSettings } from "./claimed-settings.ts";
import { readBackupSettings } from "./settings-tee-backup.ts";
import type { TeeFlags, TeeSettings } from "./settings-tee.ts";
import { auditInBackground } from "./sign-log-audit.ts";
import type { Allowance } from "./sign-policy/index.ts";
import { createWorkerBackup } from "./worker-backup.ts";
import { openWorkerLog } from "./worker-log.ts";
import { serveWorker } from "./worker-server.ts";

/** What tests replace. */
export interface TeeDependencies {
  log?: Logger;
  clock?: Clock;
  random?: RandomBytes;
  /** How often one account may ask for a signature. */
  allowance?: Allowance;
  hardware?: Pick<HardwareDependencies, "kms" | "withoutTpm">;
  /** After how long custodians that were away are asked again. */
  backupRetryMs?: number;
}

/** A TEE worker that accepts calls. */
export interface RunningTeeWorker extends RunningServer {
  /** Where what is counted can be scraped; absent where that was not asked for. */
  metricsUrl?: string;
}

/**
 * Claims its folder, tries whether the machine gives evidence, opens what the TPM sealed, the sign log, and the port: in this order, so
 * that nobody is answered by a worker that is not the newest one of its line. The whole log is read again meanwhile: where that finds damage, nothing more is signed, and readiness says so.
 * `close` drains, keeps the log's head, and lets go of the root key.
 * @throws UnsealRefused, BootRefused, SignLogError: the process ends with 42; SettingsError: with 78
 */
export async function startTeeWorker(
  settings: TeeSettings,
  flags: TeeFlags,
  {
    log = createLog("keys", { level: settings.logLevel }),
    clock = systemClock,
    random = systemRandom,
    allowance,
    hardware: replaced,
    backupRetryMs = 10 * MINUTE,
  }: TeeDependencies = {},
): Promise<RunningTeeWorker> {
  const bootId = Buffer.from(random(16)).toString("hex");
  const backupSettings = await readBackupSettings(settings);
  const claimed = claimedSettings(settings, backupSettings);
  const identity = createTlsIdentity({ names: namesOf(settings), clock, random });
  await warnOfCoreDumps(log);
  await mkdir(settings.stateFolder, { recursive: true, mode: 0o700 });
  const claim = await claimFolder(settings.stateFolder, random);
  const undo: (() => Promise<void>)[] = [() => claim.release()];
  // Each step, also after one that failed: the root key goes, and the TPM hears that it was no crash.
  const close = async (): Promise<void> => {
    let failed: unknown;
    for (const step of undo.splice(0).reverse()) await step().catch((error: unknown) => (failed ??= error));
    if (failed !== undefined) throw failed instanceof Error ? failed : new Error("stopping failed", { cause: failed });
  };
  try {
    const hardware = await openHardware(settings, { random, clock, log, tlsKey: identity.spki, ...replaced });
    undo.push(() => hardware.close());
    await tryEvidence(hardware.provider, random);
    const { floor } = hardware;
    const { retireReleasesBefore: retireBefore } = flags;
    if (retireBefore !== undefined) await mayRetireBefore(floor, retireBefore);
    const { plan } = backupSettings;
    const backup =
      plan &&
      createWorkerBackup({ plan, settings, claimed, hardware, log, clock, random, later: laterBy(backupRetryMs) });
    const booted = await boot({
      file: createStateFile(join(settings.stateFolder, "state.json")),
      vault: hardware.vault,
      ...(hardware.former && { former: hardware.former }),
      counters: hardware.counters,
      allowGenesis: flags.allowGenesis,
      ...(backup && { create: backup.create }),
      ...(flags.recoveryTicket !== undefined && { recover: backup?.recoverBy(flags.recoveryTicket) ?? withoutBackup }),
      ...(flags.acceptRollback !== undefined && { acceptRollback: flags.acceptRollback }),
      ...{ bootId, clock },
    });
    const { key } = booted;
    undo.push(() => {
      key.destroy();
      return Promise.resolve();
    });
    log.info({ how: booted.how, vault: hardware.vault.type, boot_id: bootId }, "root key opened");
    if (booted.resealed) {
      log.warn("the root key was sealed anew: no older copy of the state file opens any more, so back the disk up now");
    }
    const releases = await runningReleases({ floor, blob: booted.blob, retireBefore });
    if (backup !== undefined) undo.push(await backup.catchUp(booted));

    const workerLog = await openWorkerLog({ settings, flags, booted, counter: hardware.logCounter, clock, random });
    const logAt = undo.length;
    undo.push(() => workerLog.close());
    const registry = new Registry();
    const { owners } = backupSettings;
    const parts = {
      key,
      hardware,
      releases,
      workerLog,
      identity,
      registry,
      bootId,
      claimed,
      owners,
      log,
      clock,
      random,
      allowance,
    };
    const server = await serveWorker(settings, parts);
    undo.push(() => server.close());
    const { metricsListen } = settings;
    const scraped = await (metricsListen && serveMetrics({ listen: metricsListen, registry, log }));
    if (scraped !== undefined) undo.push(() => scraped.close());
    const audited = auditInBackground(workerLog.signLog, log);
    // Closing the log ends the audit; nothing of it goes on after that.
    undo.splice(logAt, 0, () => audited);
    await releases.retire();
    if (releases.now !== undefined) {
      log.info({ security_version: releases.now.running, least: releases.now.least }, "releases that open the seal");
    }
    return { ...server, ...(scraped && { metricsUrl: scraped.url }), close };
  } catch (error) {
    await close().catch(() => undefined);
    throw error;
  }
}

function laterBy(ms: number): (work: () => void) => () => void {
  return (work) => {
    const timer = setTimeout(work, ms).unref();
    return () => clearTimeout(timer);
  };
}

function withoutBackup(): Promise<never> {
  const why = "--recover needs AGENTKEYS_TEE_BACKUP, as the worker had it that was backed up";
  return Promise.reject(new BootRefused("RECOVERY_REFUSED", why));
}

function namesOf({ listen, publicUrl }: TeeSettings): string[] {
  const names = new Set([listen.host, ...(publicUrl === undefined ? [] : [new URL(publicUrl).hostname])]);
  return [...names].map(withoutBrackets);
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, "");
}
