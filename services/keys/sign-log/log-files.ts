import { constants, writeSync } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

import { SignLogError } from "./sign-log-error.ts";

/** A bundle has 256 entries of less than 64 KiB. */
const MAX_FILE = 16 * 1024 * 1024 + 1024;
/** It is begun anew after a thousand entries, and goes on only where tiles find no room. */
const MAX_JOURNAL = 1024 ** 3;

/** Where a log is kept. Paths are relative to its folder. What is written is durable when the promise resolves. */
export interface LogFiles {
  /** Undefined when there is no such file. @throws SignLogError DAMAGED for a link, a pipe, a folder, and for more than a log can hold. */
  read: (path: string) => Promise<Buffer | undefined>;
  /** The whole file, or, after a crash, the one before it or none. */
  write: (path: string, contents: Uint8Array) => Promise<void>;
  /** A file or a folder with all that is in it; nothing when there is none. */
  remove: (path: string) => Promise<void>;
  openJournal: (path: string) => Promise<JournalFile>;
}

/** A file that grows at its end. */
export interface JournalFile {
  read: () => Promise<Buffer>;
  /** Writes all of it, or throws; what then stands from `position` on is not defined. Durable after `sync` only. */
  write: (bytes: Uint8Array, position: number) => Promise<void>;
  /** fdatasync: after an error nobody knows what is on the disk, and nothing can find out. */
  sync: () => Promise<void>;
  /** Cuts the file; durable. */
  truncate: (length: number) => Promise<void>;
  close: () => Promise<void>;
}

/** Files in a folder, which is made; nobody but this user can read them. */
export async function openLogFolder(folder: string): Promise<LogFiles> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return {
    read: async (path) => {
      try {
        return await withFile(join(folder, path), constants.O_RDONLY, (file) => wholeOf(file, path, MAX_FILE));
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
        throw error;
      }
    },
    write: async (path, contents) => {
      const target = join(folder, path);
      const made = await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      // A leftover of a process that was killed, or a link that somebody put there.
      await rm(`${target}.new`, { recursive: true, force: true });
      const file = await open(`${target}.new`, "wx", 0o600);
      try {
        await file.writeFile(contents);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${target}.new`, target);
      await syncFolder(dirname(target));
      // The names of the folders above as well, where they are new.
      if (made === undefined) return;
      for (let at = dirname(dirname(target)); at.length >= folder.length; at = dirname(at)) await syncFolder(at);
    },
    remove: (path) => rm(join(folder, path), { recursive: true, force: true }),
    openJournal: async (path) => {
      const file = await openPlain(join(folder, path), constants.O_RDWR | constants.O_CREAT);
      await syncFolder(folder);
      return journalOver(file, path);
    },
  };
}

function journalOver(file: FileHandle, name: string): JournalFile {
  return {
    read: () => wholeOf(file, name, MAX_JOURNAL),
    // To the kernel's memory: quicker than to hand it to another thread. It is `sync` that waits for the disk.
    write: (bytes, position) =>
      new Promise((resolve) => {
        for (let done = 0; done < bytes.length;) {
          done += writeSync(file.fd, bytes, done, bytes.length - done, position + done);
        }
        resolve();
      }),
    sync: () => file.datasync(),
    truncate: async (length) => {
      await file.truncate(length);
      await file.sync();
    },
    close: () => file.close(),
  };
}

/** Somebody else may have had the disk: neither a link to elsewhere is followed, nor is a pipe waited for. */
async function openPlain(path: string, flags: number): Promise<FileHandle> {
  return open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && (error.code === "ELOOP" || error.code === "EISDIR"))
      throw damaged(path);
    throw error;
  });
}

async function withFile<T>(path: string, flags: number, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await openPlain(path, flags);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function wholeOf(file: FileHandle, name: string, most: number): Promise<Buffer> {
  const found = await file.stat();
  if (!found.isFile() || found.size > most) throw damaged(name);
  const bytes = Buffer.alloc(found.size);
  let length = 0;
  for (let read = -1; read !== 0 && length < bytes.length; length += read) {
    ({ bytesRead: read } = await file.read(bytes, length, bytes.length - length, length));
  }
  return bytes.subarray(0, length);
}

function damaged(name: string): SignLogError {
  return new SignLogError("DAMAGED", `the sign log is damaged: ${name} is no file that this worker wrote`);
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
