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
  /** Opens it again: after `close`, or as after a crash. */
  reopen: (more?: Partial<MerkleSignLogOptions>) => Promise<MerkleSignLog>;
  remove: () => Promise<void>;
}> {
  const root = mkdtempSync(join(tmpdir(), "agentkeys-sign-log-"));
  const folder = join(root, "log");
  const counter = memoryCounter();
  const { wrap = (files: LogFiles): LogFiles => files, ...rest } = options;
  // What a crashed log left open, since the process did not end with it.
  const journals: JournalFile[] = [];
  const reopen = async (more: Partial<MerkleSignLogOptions> = {}): Promise<MerkleSignLog> => {
    const files = await openLogFolder(folder);
    const openJournal = async (path: string): Promise<JournalFile> => {
      const journal = await files.openJournal(path);
      journals.push(journal);
      return journal;
    };
    return openMerkleSignLog({
      files: wrap({ ...files, openJournal }),
      signer,
      counter,
      clock: () => 1_790_000_000_000,
      random: systemRandom,
      ...rest,
      ...more,
    });
  };
  const remove = async (): Promise<void> => {
    for (const journal of journals) await journal.close();
    rmSync(root, { recursive: true });
  };
  const log = await reopen({ begin: true });
  return { folder, counter, log, reopen, remove };
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
