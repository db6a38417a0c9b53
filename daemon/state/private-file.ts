import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

import { Problem } from "../problem.ts";
import { refuseOthers } from "./folder.ts";
import { isSystemError, unusable } from "./trouble.ts";

const MAX_BYTES = 1024 * 1024;

/** Reads a file that only its owner can open; `undefined` where there is none. @throws Problem STATE_* */
export async function readPrivateFile(path: string): Promise<string | undefined> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const found = await file.stat();
    refuseOthers(path, found, "600");
    if (!found.isFile() || found.size > MAX_BYTES) throw damaged(path);
    return await file.readFile("utf8");
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return undefined;
    throw error instanceof Problem ? error : unusable(path, error);
  } finally {
    await file?.close();
  }
}

/**
 * Replaces a file as a whole: who reads it, and who comes after a crash or a power cut, finds the old contents or the new ones.
 * On failure the old ones stay. The caller holds the lock for the file. (`write-file-atomic` does not look at how much was
 * written, and on a full disk puts a first part in the place of the whole.) @throws Problem STATE_UNUSABLE
 */
export async function writePrivateFile(path: string, contents: string): Promise<void> {
  const next = `${path}.new`;
  try {
    await writeWhole(next, contents);
    await rename(next, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(next, { force: true }).catch(() => undefined);
    throw unusable(path, error);
  }
}

/** Removes a file if it is there. @throws Problem STATE_UNUSABLE */
export async function removePrivateFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true });
  } catch (error) {
    throw unusable(path, error);
  }
}

/** The contents are not what this program writes. */
export function damaged(path: string): Problem {
  return new Problem(
    "STATE_DAMAGED",
    "configuration",
    `${path} is damaged: it does not hold what agentkeys writes there.`,
    {
      remedy: "Run `agentkeys logout` to remove it, then `agentkeys init` to sign in anew.",
    },
  );
}

async function writeWhole(path: string, contents: string): Promise<void> {
  // A leftover of a process that was killed.
  await rm(path, { force: true });
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(contents);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A rename outlives a power cut once its folder is on the disk. Some file systems cannot; the new contents are in place anyway. */
async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, constants.O_RDONLY);
    await folder.sync().finally(() => folder.close());
  } catch {
    return;
  }
}
