import { constants } from "node:fs";
import { open, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";

import { PolicyRefused } from "./policy-refused.ts";

/** A file cannot be read. The message says why, in words that go on after its name. */
export class UnreadableFile extends Error {
  override readonly name = "UnreadableFile";
}

const MAX_BYTES = 256 * 1024;

/** Reads a file that decides by itself which key service is believed: nobody else may be able to change it. @throws UnreadableFile, PolicyRefused POLICY_PERMISSIONS */
export async function readGuardedFile(path: string): Promise<string> {
  return (await readGuardedBytes(path)).toString("utf8");
}

/** The same, of one that is no text: one that is signed, and still must not be put back to an older one. @throws UnreadableFile, PolicyRefused POLICY_PERMISSIONS */
export async function readGuardedBytes(path: string): Promise<Buffer> {
  await refuseOpenFolders(path);
  return await readFile(path, refuseOtherAuthors);
}

/** Reads a file whose contents somebody signed. @throws UnreadableFile */
export async function readSignedFile(path: string): Promise<string> {
  return (await readFile(path, () => undefined)).toString("utf8");
}

type Look = (path: string, found: { uid: number; mode: number }) => void;

async function readFile(path: string, look: Look): Promise<Buffer> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const found = await file.stat();
      if (!found.isFile() || found.size > MAX_BYTES) throw new UnreadableFile("it is no file, or far too large");
      look(path, found);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof PolicyRefused || error instanceof UnreadableFile) throw error;
    const why =
      error instanceof Error && "code" in error && error.code === "ENOENT" ? "it is not there" : "it cannot be opened";
    throw new UnreadableFile(why, { cause: error });
  }
}

/**
 * In a folder that everybody may write to, everybody can put another file of ours in the place of this one, an older policy for example;
 * where only owners may remove their own (/tmp), nobody can. The folder is looked at, and the one that a link leads to.
 */
async function refuseOpenFolders(path: string): Promise<void> {
  if (process.getuid === undefined) return;
  const target = await realpath(path).catch(() => path);
  for (const folder of new Set([dirname(path), dirname(target)])) {
    const found = await stat(folder).catch(() => undefined); // then the file cannot be read either, which says more
    const isSafe = found === undefined || (found.mode & 0o002) === 0 || (found.mode & 0o1000) !== 0;
    if (isSafe) continue;
    throw new PolicyRefused(
      "POLICY_PERMISSIONS",
      `Any user of this machine may replace files in ${folder}`,
      `Look whether ${path} still says what it should, then run \`chmod o-w ${folder}\`.`,
    );
  }
}

/** Whoever can write the policy, or the key that it names, decides which key service is believed. */
function refuseOtherAuthors(path: string, found: { uid: number; mode: number }): void {
  if (process.getuid === undefined) return;
  if ((found.mode & 0o022) === 0 && [process.getuid(), 0].includes(found.uid)) return;
  throw new PolicyRefused(
    "POLICY_PERMISSIONS",
    `Other users of this machine may change ${path}`,
    `Look whether it still says what it should, then run \`chmod go-w ${path}\` as its owner, who must be you or root.`,
  );
}
