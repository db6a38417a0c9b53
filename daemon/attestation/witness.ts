import { createHash } from "node:crypto";
import { join } from "node:path";

import { type TreeHead, TlogError, verifyConsistency } from "@agentkeys/lib/tlog";

import { printable } from "../printable.ts";
import { Problem, problemOf } from "../problem.ts";
import { checkFolder, makeFolder } from "../state/folder.ts";
import { withLock } from "../state/lock.ts";
import { readPrivateFile, writePrivateFile } from "../state/private-file.ts";

/** What a key service's hardware vouched for of its sign log. */
export interface SeenHead extends TreeHead {
  /** The platform's monotonic counter, where it has one. */
  counter?: number;
}

/** How more can be learned of the log, on the connection that the head came by. */
export interface LogSource {
  /** The head as it is now. */
  again(): Promise<SeenHead>;
  /** RFC 6962 section 2.1.2. */
  consistencyProof(fromSize: number, toSize: number): Promise<readonly Uint8Array[]>;
}

/**
 * Remembers on this machine the last head of a sign log that it saw, and has every later one proven to be its continuation. A record of a
 * signature that anybody here could have seen cannot be taken away, or be replaced for some of us, without this machine noticing.
 */
export interface Witness {
  /**
   * Remembers that an answer named the entry at `index`, so that every later log has to hold it. The log has to have been seen before.
   * @throws RangeError for what is no index; Problem STATE_*
   */
  answered(index: number): Promise<void>;
  /** @throws Problem SIGN_LOG_ROLLED_BACK, SIGN_LOG_FORKED, STATE_* */
  see(head: SeenHead, source: LogSource): Promise<void>;
  /**
   * Has the checkpoint of an answer proven to be of the same log as the head that was seen last, and none from before that. `ask` may be
   * called twice: while it went on, another process of this machine may have seen a newer head. Remembers nothing. @throws as `see`
   */
  agree<Answer extends { checkpoint: TreeHead }>(
    ask: () => Promise<Answer>,
    source: Pick<LogSource, "consistencyProof">,
  ): Promise<Answer>;
}

/** `logKey`: the log's verifier key, which no two logs have in common. */
export function openWitness(stateFolder: string, logKey: string): Witness {
  const name = `sign-log-${createHash("sha256").update(logKey).digest("hex").slice(0, 16)}`;
  const path = join(stateFolder, `${name}.json`);

  const read = async (): Promise<Kept | undefined> => {
    if (!(await checkFolder(stateFolder))) return undefined;
    const text = await readPrivateFile(path);
    if (text === undefined) return undefined;
    const kept = parse(text, logKey);
    if (kept === undefined) throw forgotten(path);
    return kept;
  };

  return {
    async answered(index) {
      if (!isCount(index)) throw new RangeError("an entry's index is a whole number from 0 on");
      // There is no folder for a lock before anything was seen.
      const seen = async (): Promise<Kept> => {
        const kept = await read();
        if (kept === undefined) throw new RangeError("nothing was seen of the log that the entry is in");
        return kept;
      };
      if (owedSize(await seen()) > index) return;
      await withLock(stateFolder, name, async (lock) => {
        const kept = await seen();
        if (owedSize(kept) > index) return;
        lock.check();
        await writePrivateFile(path, format({ ...kept, answered: index }, logKey));
      });
    },

    async agree(ask, source) {
      const first = await ask();
      const kept = await read();
      if (kept === undefined) return first;
      const owed = owedSize(kept);
      const answer = first.checkpoint.size < owed ? await ask() : first;
      const { checkpoint } = answer;
      if (checkpoint.size < owed) {
        const shown = `it shows its sign log as it was with ${checkpoint.size} entries`;
        throw rolledBack(`${shown}, and it had ${owed} when this machine last heard of it`, path);
      }
      await requireConsistency(kept, checkpoint, source, path);
      return answer;
    },

    async see(head, source) {
      const before = await read();
      if (before !== undefined && isSame(before, head) && owedSize(before) <= head.size) return;
      await makeFolder(stateFolder);
      await withLock(stateFolder, name, async (lock) => {
        const kept = await read();
        // Another process of this machine may have seen a newer head while this one was on its way.
        const latest = kept !== undefined && isBehind(head, kept) ? await source.again() : head;
        if (kept !== undefined) await requireContinuation(kept, latest, source, path);
        lock.check();
        await writePrivateFile(path, format(latest, logKey));
      });
    },
  };
}

async function requireContinuation(kept: Kept, head: SeenHead, source: LogSource, path: string): Promise<void> {
  if (head.size < kept.size) {
    throw rolledBack(`its sign log has ${head.size} entries, and had ${kept.size} when this machine last saw it`, path);
  }
  if (head.size < owedSize(kept)) {
    throw rolledBack(
      `its sign log has ${head.size} entries, and it answered with a signature that would be number ${owedSize(kept)}`,
      path,
    );
  }
  if (kept.counter !== undefined && (head.counter ?? -1) < kept.counter) {
    const now = head.counter === undefined ? "is gone" : `stands at ${head.counter}`;
    throw rolledBack(
      `the counter of its hardware ${now}, and stood at ${kept.counter} when this machine last saw it`,
      path,
    );
  }
  await requireConsistency(kept, head, source, path);
}

async function requireConsistency(
  earlier: TreeHead,
  later: TreeHead,
  source: Pick<LogSource, "consistencyProof">,
  path: string,
): Promise<void> {
  try {
    const isTrivial = earlier.size === 0 || earlier.size === later.size;
    verifyConsistency(earlier, later, isTrivial ? [] : await source.consistencyProof(earlier.size, later.size));
  } catch (error) {
    const isVerdict = error instanceof TlogError || problemOf(error).reason === "LOG_POSITION_UNKNOWN";
    if (!isVerdict) throw error;
    const why = error instanceof TlogError ? printable(error.message) : "it no longer knows that place";
    throw new Problem(
      "SIGN_LOG_FORKED",
      "standing",
      `The key service's sign log is not the continuation of the one that this machine saw before: ${why}. Everything was stopped.`,
      { remedy: remedy(path), cause: error },
    );
  }
}

function rolledBack(why: string, path: string): Problem {
  return new Problem(
    "SIGN_LOG_ROLLED_BACK",
    "standing",
    `The key service was put back to an earlier state: ${why}. Everything was stopped.`,
    { remedy: remedy(path) },
  );
}

function forgotten(path: string): Problem {
  return new Problem(
    "STATE_DAMAGED",
    "configuration",
    `${path} is damaged: what this machine saw of the key service's sign log is lost.`,
    {
      remedy: `Put it back from a backup; if there is none, remove ${path}: this machine then believes the log that it sees next.`,
    },
  );
}

function remedy(path: string): string {
  return (
    "Signatures may have been made that nobody will find recorded: ask who runs the key service. " +
    `If they can tell why, remove ${path}, which is what this machine remembers of the log.`
  );
}

function isSame(a: SeenHead, b: SeenHead): boolean {
  return a.size === b.size && a.counter === b.counter && Buffer.from(a.root).equals(b.root);
}

function isBehind(head: SeenHead, kept: Kept): boolean {
  return head.size < owedSize(kept) || (kept.counter !== undefined && (head.counter ?? -1) < kept.counter);
}

/** What this machine remembers of a log. */
interface Kept extends SeenHead {
  /** The index of an entry beyond the head, where an answer has named one since. */
  answered?: number;
}

/** How many entries the log has to have by now. */
function owedSize({ size, answered = -1 }: Kept): number {
  return Math.max(size, answered + 1);
}

const VERSION = 1;

function format({ size, root, counter, answered }: Kept, logKey: string): string {
  const record = { version: VERSION, log: logKey, size, root: Buffer.from(root).toString("hex"), counter, answered };
  return JSON.stringify(record, null, 2) + "\n";
}

function parse(text: string, logKey: string): Kept | undefined {
  const { version, log, size, root, counter, answered } = parseObject(text);
  if (version !== VERSION || log !== logKey || !isCount(size)) return undefined;
  if (typeof root !== "string" || !/^[0-9a-f]{64}$/.test(root)) return undefined;
  if (counter !== undefined && !isCount(counter)) return undefined;
  if (answered !== undefined && !isCount(answered)) return undefined;
  const kept = { size, root: Buffer.from(root, "hex") };
  return { ...kept, ...(counter !== undefined && { counter }), ...(answered !== undefined && { answered }) };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function parseObject(text: string): Partial<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
