import { constants } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** Files that are read and replaced as a whole. Tests end the process between any two steps. */
export interface WholeFiles {
  /** `undefined` where there is none. No link is followed, and no pipe waited for. A file longer than `maxBytes` is cut there: it will not parse. */
  read(path: string, maxBytes: number): Promise<string | undefined>;
  /** Who reads it, and who comes after a crash or a power cut, finds the old contents or the new ones. */
  replace(path: string, contents: string): Promise<void>;
}

/** A file's replacement, step by step. */
export interface ReplaceSteps {
  /** Writes a file of mode 0600 whole and has it on the disk, whatever was there. */
  writeNew(path: string, contents: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  syncFolder(path: string): Promise<void>;
}

export const systemSteps: ReplaceSteps = {
  writeNew: async (path, contents) => {
    // A leftover of a process that was killed.
    await rm(path, { force: true });
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(contents);
      await file.sync();
    } finally {
      await file.close();
    }
  },
  rename,
  syncFolder: async (path) => {
    const folder = await open(path, constants.O_RDONLY);
    await folder.sync().finally(() => folder.close());
  },
};

export const systemFiles: WholeFiles = wholeFiles(systemSteps);

export function wholeFiles(steps: ReplaceSteps): WholeFiles {
  return {
    read: async (path, maxBytes) => {
      try {
        const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
        try {
          const buffer = Buffer.alloc(maxBytes);
          let length = 0;
          for (let read = 1; read > 0; length += read) {
            ({ bytesRead: read } = await file.read(buffer, length, maxBytes - length));
          }
          return buffer.toString("utf8", 0, length);
        } finally {
          await file.close();
        }
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
        throw error;
      }
    },
    replace: async (path, contents) => {
      const next = `${path}.new`;
      await steps.writeNew(next, contents);
      await steps.rename(next, path);
      await steps.syncFolder(dirname(path));
    },
  };
}
