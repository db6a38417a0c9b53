import { join } from "node:path";

import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import { createNoteSigner, formatVerifierKey, type NoteSigner } from "@agentkeys/lib/tlog";

import { BootRefused } from "./backends/tee/boot-decision.ts";
import type { Booted } from "./backends/tee/genesis.ts";
import { deriveFor } from "./backends/tee/root-key.ts";
import type { MonotonicCounter as NvCounter, RootKey } from "./backends/tee/sealer.ts";
import type { LogHead } from "./backends/tee/state-file.ts";
import type { TeeFlags } from "./settings-tee.ts";
import {
  type LogFiles,
  type MerkleSignLog,
  type MonotonicCounter,
  openLogFolder,
  openMerkleSignLog,
} from "./sign-log/index.ts";

/** The sign log of a worker that has booted. */
export interface WorkerLog {
  signLog: MerkleSignLog;
  /** The key that its checkpoints are signed with, as a verifier key of C2SP signed-note. */
  vkey: string;
  /** Closes the log, and keeps its head in the worker's state. */
  close(): Promise<void>;
}

export interface WorkerLogParts {
  settings: { signer: string; stateFolder: string; countEveryMs: number };
  flags: TeeFlags;
  booted: Booted;
  /** The log's own in the TPM. */
  counter: NvCounter | "none";
  clock: Clock;
  random: RandomBytes;
  /** What tests replace. */
  openFolder?: (folder: string) => Promise<LogFiles>;
}

/**
 * Opens the log that belongs to this root key and this state, or begins it where nothing was ever signed.
 * @throws SignLogError, BootRefused ROLLED_BACK where the log does not go on from what the state says
 */
export async function openWorkerLog(parts: WorkerLogParts): Promise<WorkerLog> {
  const { settings, flags, booted, counter, clock, random, openFolder = openLogFolder } = parts;
  const { state, how } = booted;
  const signer = await noteSigner(booted.key, settings.signer);
  // A first start that ended before the log was begun is taken up again: nothing was signed yet.
  const begin = state.logHead === undefined;
  const signLog = await openMerkleSignLog({
    files: await openFolder(join(settings.stateFolder, "sign-log")),
    signer,
    counter: counter === "none" ? "none" : countingFrom(counter),
    begin,
    // After a recovery it is a new one, or one that somebody put back, of whatever counter.
    acceptRollback: how === "rollback-accepted" || how === "recovered" ? "any" : flags.acceptRollback,
    countEveryMs: settings.countEveryMs,
    ...{ clock, random },
  });
  try {
    if (how === "rollback-accepted" || signLog.isAccepted) await state.replace(headOf(signLog));
    else await checkContinues(signLog, state.logHead);
    if (begin) await state.advance(headOf(signLog));
  } catch (error) {
    await signLog.close();
    throw error;
  }
  return {
    signLog,
    vkey: formatVerifierKey(signer.key),
    close: async () => {
      await signLog.close();
      await state.advance(headOf(signLog));
    },
  };
}

/** The counter tells the newest log from an older one; the state, which log it was. */
async function checkContinues(signLog: MerkleSignLog, kept: LogHead | undefined): Promise<void> {
  if (kept === undefined) return;
  const { size } = signLog.head;
  if (BigInt(size) < kept.size) {
    throw new BootRefused("ROLLED_BACK", `the sign log has ${size} entries, but the state says ${kept.size}`);
  }
  const root = Buffer.from(await signLog.rootOf(Number(kept.size))).toString("hex");
  if (root === kept.root) return;
  throw new BootRefused(
    "ROLLED_BACK",
    `the sign log is another than that of which the state knows ${kept.size} entries`,
  );
}

async function noteSigner(key: RootKey, name: string): Promise<NoteSigner> {
  const seed = await deriveFor(key, "log");
  try {
    return createNoteSigner(name, seed);
  } finally {
    seed.fill(0);
  }
}

/** A counter that was never incremented has no value: the log's begins with its first. */
function countingFrom(counter: NvCounter): MonotonicCounter {
  return {
    read: async () => (await counter.read()) ?? (await counter.increment()),
    increment: () => counter.increment(),
  };
}

function headOf({ head }: MerkleSignLog): LogHead {
  return { size: BigInt(head.size), root: Buffer.from(head.root).toString("hex") };
}
