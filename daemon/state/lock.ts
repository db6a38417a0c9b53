import { join } from "node:path";

import lockfile from "proper-lockfile";

import { Problem } from "../problem.ts";
import { isSystemError, unusable } from "./trouble.ts";

/** A lock that was taken. */
export interface HeldLock {
  /** Throws when the lock was lost, for example because this machine slept and another process took it. To be asked before writing. */
  check(): void;
  release(): Promise<void>;
}

/**
 * A lock whose holder was killed counts as free after this long. Holders renew theirs at half that, so that whoever does not is gone
 * or asleep.
 */
const STALE_MS = 10_000;
/** Somebody who waits gives up after about this long: longer than any one call of a holder's may take. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 100;

/** Runs `work` while this process alone holds the lock `name` of a state folder. @throws Problem STATE_BUSY, STATE_UNUSABLE */
export async function withLock<T>(folder: string, name: string, work: (lock: HeldLock) => Promise<T>): Promise<T> {
  const lock = await takeLock(folder, name, PATIENCE_MS);
  try {
    return await work(lock);
  } finally {
    await lock.release();
  }
}

/** Takes the lock `name` of a state folder, waiting up to `patienceMs` for it. @throws Problem STATE_BUSY, STATE_UNUSABLE */
export async function takeLock(folder: string, name: string, patienceMs: number): Promise<HeldLock> {
  const path = join(folder, name);
  let lost = false;
  try {
    const release = await lockfile.lock(path, {
      // The folder is enough: what is locked need not exist yet.
      realpath: false,
      stale: STALE_MS,
      retries: { retries: Math.ceil(patienceMs / LOOK_MS), factor: 1, minTimeout: LOOK_MS, maxTimeout: LOOK_MS },
      onCompromised: () => (lost = true),
    });
    return {
      check: () => {
        if (lost) throw busy(path);
      },
      // A lock that was lost is somebody else's now.
      release: () => (lost ? Promise.resolve() : release()),
    };
  } catch (error) {
    throw isSystemError(error, "ELOCKED") ? busy(path) : unusable(folder, error);
  }
}

function busy(path: string): Problem {
  return new Problem("STATE_BUSY", "passing", `Another agentkeys process holds ${path}.lock.`, {
    remedy: "Wait until it is done, then try again.",
  });
}
