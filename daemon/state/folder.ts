import { mkdir, stat } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";

import type { Environment } from "@agentkeys/lib/settings";

import { Problem } from "../problem.ts";
import { isSystemError, unusable } from "./trouble.ts";

/**
 * The folder that holds this machine's state: what is set, else `agentkeys` in the XDG state folder (XDG Base Directory
 * Specification: a relative XDG_STATE_HOME is ignored), else in `~/.local/state`.
 */
export function stateFolder(o: { stateDir?: string; env: Environment; home: string }): string {
  if (o.stateDir !== undefined) return o.stateDir;
  const xdg = o.env["XDG_STATE_HOME"];
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(o.home, ".local", "state"), "agentkeys");
}

/** Makes the folder where it is missing, for its owner alone. @throws Problem STATE_* */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makePath(path);
  } catch (error) {
    throw unusable(path, error);
  }
  await checkFolder(path);
}

/** Not by `mkdir`'s `recursive`, which never returns where a folder above can be seen but nothing be made in it (as in /proc). */
async function makePath(path: string): Promise<void> {
  try {
    await makeOne(path);
  } catch (error) {
    if (!isSystemError(error, "ENOENT") || dirname(path) === path) throw error;
    await makePath(dirname(path));
    await makeOne(path);
  }
}

async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    // Another process may make it at the same moment.
    if (!isSystemError(error, "EEXIST")) throw error;
  }
}

/** Whether there is such a folder, and nobody else can look into it. @throws Problem STATE_* */
export async function checkFolder(path: string): Promise<boolean> {
  try {
    const found = await stat(path);
    if (!found.isDirectory()) {
      throw new Problem("STATE_UNUSABLE", "configuration", `${path} is not a folder.`, {
        remedy: "Move it away, or set AGENTKEYS_STATE_DIR to a folder.",
      });
    }
    refuseOthers(path, found, "700");
    return true;
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return false;
    throw error instanceof Problem ? error : unusable(path, error);
  }
}

/** Refuses what belongs to another user or is open to others. `mode` is what it should be. @throws Problem STATE_PERMISSIONS */
export function refuseOthers(path: string, found: { uid: number; mode: number }, mode: "600" | "700"): void {
  // Windows has neither; there the person's profile folder is the protection.
  if (process.getuid === undefined) return;
  if (found.uid !== process.getuid()) {
    throw new Problem("STATE_PERMISSIONS", "configuration", `${path} belongs to another user.`, {
      remedy: "Run agentkeys as its owner, or set AGENTKEYS_STATE_DIR to a folder of your own.",
    });
  }
  if ((found.mode & 0o077) !== 0) {
    throw new Problem("STATE_PERMISSIONS", "configuration", `Other users of this machine may open ${path}.`, {
      remedy: `Run \`chmod ${mode} ${path}\`; if somebody may have read it, run \`agentkeys logout\` after that and sign in anew.`,
    });
  }
}
