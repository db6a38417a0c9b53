import { writeSync } from "node:fs";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Where a log is kept. Paths are relative to its folder. What is written is durable when the promise resolves. */
export interface LogFiles {
  /** Undefined when there is no such file. */
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
        return await readFile(join(folder, path));
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
        throw error;
      }
    },
    write: async (path, contents) => {
      const target = join(folder, path);
      const made = await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      const file = await open(`${target}.new`, "w", 0o600);
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
      const file = await open(join(folder, path), "a+", 0o600);
      await file.close();
      await syncFolder(folder);
      return openJournalFile(join(folder, path));
    },
  };
}

async function openJournalFile(path: string): Promise<JournalFile> {
  const file = await open(path, "r+");
  return {
    read: () => readFile(path),
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

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
