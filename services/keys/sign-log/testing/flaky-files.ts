import type { JournalFile, LogFiles } from "../log-files.ts";

/** What a disk may do. */
export interface Disk {
  /** Bytes that can still be written; a write beyond them is done in part and fails with ENOSPC. */
  room: number;
  /** When set, what `sync` waits for, or fails with. */
  beforeSync: (() => Promise<void>) | undefined;
  syncs: number;
}

/** Files on a disk that a test has in its hand. */
export function onDisk(files: LogFiles): { files: LogFiles; disk: Disk } {
  const disk: Disk = { room: Infinity, beforeSync: undefined, syncs: 0 };
  const take = (length: number): void => {
    if (length > disk.room) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    disk.room -= length;
  };
  return {
    disk,
    files: {
      ...files,
      write: async (path, contents) => {
        take(contents.length);
        await files.write(path, contents);
      },
      openJournal: async (path) => {
        const journal = await files.openJournal(path);
        return {
          ...journal,
          write: async (bytes, position) => {
            await journal.write(bytes.subarray(0, Math.min(bytes.length, disk.room)), position);
            take(bytes.length);
          },
          sync: async () => {
            disk.syncs++;
            await disk.beforeSync?.();
            await journal.sync();
          },
        } satisfies JournalFile;
      },
    },
  };
}
