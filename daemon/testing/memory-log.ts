import { consistencyProof, inclusionProof, leafHash, nodeHash, rootOf } from "@agentkeys/lib/tlog";

/** A Merkle log in memory: whatever its owner wants it to be. */
export interface MemoryLog {
  entries: Uint8Array[];
  root(size?: number): Promise<Uint8Array>;
  consistencyProof(from: number, to: number): Promise<Uint8Array[]>;
  inclusionProof(index: number, size: number): Promise<Uint8Array[]>;
}

export function createMemoryLog(...texts: string[]): MemoryLog {
  const log: MemoryLog = {
    entries: texts.map((text) => Buffer.from(text)),
    root: (size = log.entries.length) => rootOf(size, subtree),
    consistencyProof: (from, to) => consistencyProof(from, to, subtree),
    inclusionProof: (index, size) => inclusionProof(index, size, subtree),
  };
  const subtree = (height: number, index: number): Uint8Array => {
    if (height > 0) return nodeHash(subtree(height - 1, 2 * index), subtree(height - 1, 2 * index + 1));
    const entry = log.entries[index];
    if (entry === undefined) throw new RangeError("there is no such entry");
    return leafHash(entry);
  };
  return log;
}
