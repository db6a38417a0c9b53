import { readFile, rename, writeFile } from "node:fs/promises";

import type { MonotonicCounter } from "../counter.ts";

/** A counter in memory. */
export function memoryCounter(start = 40n): MonotonicCounter & { value: bigint } {
  const counter = {
    value: start,
    read: () => Promise.resolve(counter.value),
    increment: () => Promise.resolve(++counter.value),
  };
  return counter;
}

/** A counter in a file of its own: what survives the process, as a chip's would. Not against anybody who can write the file. */
export function fileCounter(path: string): MonotonicCounter {
  const read = async (): Promise<bigint> => BigInt(await readFile(path, "utf8").catch(() => "0"));
  return {
    read,
    increment: async () => {
      const next = (await read()) + 1n;
      await writeFile(`${path}.new`, String(next));
      await rename(`${path}.new`, path);
      return next;
    },
  };
}
