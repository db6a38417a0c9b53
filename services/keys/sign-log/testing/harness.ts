import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { OmniAccount } from "@agentkeys/lib/account";
import { systemRandom } from "@agentkeys/lib/random";
import { createNoteSigner, formatVerifierKey, leafHash, verifyConsistency, verifyInclusion } from "@agentkeys/lib/tlog";

import {
  type LogFiles,
  type MerkleSignLog,
  type MerkleSignLogOptions,
  openLogFolder,
  openMerkleSignLog,
} from "../index.ts";
import type { SignRecord } from "../sign-log.ts";
import type { JournalFile } from "../log-files.ts";
import { memoryCounter } from "./counters.ts";

export const signer = createNoteSigner("signer.example/log", Buffer.alloc(32, 7));
export const vkey = formatVerifierKey(signer.key);
export const account = "ab".repeat(32) as OmniAccount;

export function recordOf(n: number, omniAccount: OmniAccount = account): SignRecord {
  const message = Buffer.from(`canary message ${n}`);
  return { omniAccount, message, keyVersion: 1, caller: "session-1", outcome: "signed", requestId: `request-${n}` };
}

/** A folder for one test, and the log in it. */
export async function freshLog(
  options: Partial<MerkleSignLogOptions> & { wrap?: (files: LogFiles) => LogFiles } = {},
): Promise<{
  folder: string;
  counter: ReturnType<typeof memoryCounter>;
  log: MerkleSignLog;
  /** Opens it again: after `close`, or after a crash of the one before, unless that is to go on beside it. */
  reopen: (more?: Partial<MerkleSignLogOptions>, how?: { beside?: boolean }) => Promise<MerkleSignLog>;
  remove: () => Promise<void>;
}> {
  const root = mkdtempSync(join(tmpdir(), "agentkeys-sign-log-"));
  const folder = join(root, "log");
  const counter = memoryCounter();
  const { wrap = (files: LogFiles): LogFiles => files, ...rest } = options;
  let crash = (): Promise<void> => Promise.resolve();
  const reopen = async (more: Partial<MerkleSignLogOptions> = {}, { beside = false } = {}): Promise<MerkleSignLog> => {
    if (!beside) await crash();
    const killable = killableFiles(await openLogFolder(folder));
    const others = crash;
    crash = async () => {
      await others();
      await killable.kill();
    };
    return openMerkleSignLog({
      files: wrap(killable.files),
      signer,
      counter,
      clock: () => 1_790_000_000_000,
      random: systemRandom,
      ...rest,
      ...more,
    });
  };
  const remove = async (): Promise<void> => {
    await crash();
    rmSync(root, { recursive: true });
  };
  const log = await reopen({ begin: true });
  return { folder, counter, log, reopen, remove };
}

/** Files that nothing happens to any more once they are killed: what was begun is done, and what comes later never is. */
function killableFiles(files: LogFiles): { files: LogFiles; kill: () => Promise<void> } {
  const underWay = new Set<Promise<unknown>>();
  const journals: JournalFile[] = [];
  let killed = false;
  const gate =
    <A extends unknown[], R>(work: (...args: A) => Promise<R>) =>
    (...args: A): Promise<R> => {
      if (killed) return new Promise(() => undefined);
      const result = work(...args);
      const done: Promise<unknown> = result.then(
        () => underWay.delete(done),
        () => underWay.delete(done),
      );
      underWay.add(done);
      return result;
    };
  const openJournal = async (path: string): Promise<JournalFile> => {
    const { read, write, sync, truncate, close } = await files.openJournal(path);
    const journal = { read: gate(read), write: gate(write), sync: gate(sync), truncate: gate(truncate), close };
    journals.push(journal);
    return journal;
  };
  const { read, write, remove } = files;
  return {
    files: { read: gate(read), write: gate(write), remove: gate(remove), openJournal },
    kill: async () => {
      killed = true;
      await Promise.all(underWay);
      for (const journal of journals) await journal.close();
    },
  };
}

/** Every entry, by whatever way the log gives it. */
export async function entriesIn(log: MerkleSignLog): Promise<{ index: number; bytes: Uint8Array }[]> {
  const { entries } = await log.entriesOf(account, { before: log.head.size, limit: Infinity });
  return entries.reverse();
}

/** Checks that entries of `account` are in the tree, a dozen from everywhere, and that the tree begins with an earlier one. */
export async function checkLog(log: MerkleSignLog, earlier?: { size: number; root: Uint8Array }): Promise<void> {
  const { head } = log;
  const entries = await entriesIn(log);
  const step = Math.ceil(entries.length / 12);
  for (const { index, bytes } of entries.filter((_, i) => i % step === 0 || i === entries.length - 1)) {
    verifyInclusion(leafHash(bytes), index, head, await log.inclusionProof(index, head.size));
  }
  if (earlier !== undefined) verifyConsistency(earlier, head, await log.consistencyProof(earlier.size, head.size));
}
