import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import { Frontier, leafHash, type NoteSigner, TlogError, verifyCheckpoint } from "@agentkeys/lib/tlog";

import type { MonotonicCounter } from "./counter.ts";
import { counterOf, type LogEvent } from "./entry.ts";
import { decodeFrame } from "./frame.ts";
import type { LogFiles } from "./log-files.ts";
import { MerkleLog, type MerkleSignLog } from "./merkle-log.ts";
import { SettledLog } from "./settled-log.ts";
import { SignLogError } from "./sign-log-error.ts";

/** What entries say where nothing counts. A counter that was ever increased is above it. */
const UNCOUNTED = 0n;

export interface MerkleSignLogOptions {
  files: LogFiles;
  /** Signs the checkpoints: made from the worker's root key, so that only the sealed identity can. Its name is the origin. */
  signer: NoteSigner;
  /** "none" where the platform has none: then only those who kept a checkpoint notice that an older copy was put back. */
  counter: MonotonicCounter | "none";
  clock: Clock;
  random: RandomBytes;
  /** Begin a log where there is none: at genesis, and never again. Default false. */
  begin?: boolean;
  /**
   * An operator's word, for one start: go on with a log that is not the newest, where the counter stands at this value, or at any, for who
   * has accepted the whole disk. It is written into the log. Default: never.
   */
  acceptRollback?: bigint | "any" | undefined;
  /**
   * How often at most the counter is increased, in milliseconds; the default, 0, is with every commit. A chip's counter wears
   * out and is slow: with a longer time, what was cut off within it is not found by the counter, but by those who kept a checkpoint.
   */
  countEveryMs?: number;
  /** After how many entries tiles are written and the journal is begun anew, and the counter is increased, were it early. Default 1024. */
  settleEvery?: number;
}

/**
 * Opens the log of a folder: `checkpoint` and `tile/` as c2sp.org/tlog-tiles has them, and `journal`, the commits since. What is
 * not whole at the journal's end was never answered, and is cut off. Everything that is then in use leads up to a root that the
 * log's key signed, and the counter says that it is the newest.
 * @throws SignLogError
 */
export async function openMerkleSignLog(options: MerkleSignLogOptions): Promise<MerkleSignLog> {
  const { files, signer, counter, clock, random, begin = false, acceptRollback } = options;
  const log = new SettledLog(files);
  const settled = await restoreSettled(log, files, signer);
  const journal = await files.openJournal("journal");
  try {
    const contents = await journal.read();
    const { frontier, end } = replay(contents, settled, log, signer);
    const isNew = frontier.size === 0;
    if (isNew && !begin) {
      if (contents.length > 0) throw damaged(`its journal does not begin with a commit that ${keyOf(signer)} signed`);
      throw new SignLogError("MISSING", "there is no sign log here, and this is not the first start");
    }
    const { counted, event }: { counted: bigint; event?: LogEvent } = isNew
      ? { counted: counter === "none" ? UNCOUNTED : await counter.read(), event: { op: "begin" } as const }
      : await checkCounter(log, counter, acceptRollback);
    if (end < contents.length) await journal.truncate(end);
    const { countEveryMs = 0, settleEvery = 1024 } = options;
    const place = { log, frontier, journal, journalEnd: end };
    const isAccepted = event?.op === "accept-rollback";
    const parts = { ...place, signer, counter, counted, clock, random, countEveryMs, settleEvery, isAccepted };
    const opened = new MerkleLog(parts);
    if (event !== undefined) await opened.note(event);
    return opened;
  } catch (error) {
    await journal.close();
    throw error;
  }
}

/** The log as the checkpoint file has it. */
async function restoreSettled(log: SettledLog, files: LogFiles, signer: NoteSigner): Promise<Frontier> {
  const file = await files.read("checkpoint");
  if (file === undefined) return Frontier.empty;
  const { size, root } = checked(
    () => verifyCheckpoint(file.toString(), signer.key),
    `its checkpoint is not signed by ${keyOf(signer)}`,
  );
  await log.restore(size);
  const frontier = await Frontier.of(size, log.subtree);
  if (Buffer.compare(frontier.root(), root) !== 0) throw damaged("its tiles do not lead to the root of its checkpoint");
  return frontier;
}

/** Follows the journal's commits from the settled log on, as far as they are whole and signed. */
function replay(
  journal: Buffer,
  settled: Frontier,
  log: SettledLog,
  signer: NoteSigner,
): { frontier: Frontier; end: number } {
  let [frontier, end] = [settled, 0];
  for (;;) {
    const frame = decodeFrame(journal, end);
    if (frame === undefined) return { frontier, end };
    const leaves = frame.entries.map(leafHash);
    try {
      const { size, root } = verifyCheckpoint(frame.checkpoint, signer.key);
      // A crash between the new checkpoint file and the new journal leaves commits that are settled already.
      if (size > settled.size) {
        const next = frontier.append(leaves);
        if (size !== next.size || Buffer.compare(root, next.root()) !== 0) return { frontier, end };
        log.append(frame.entries, leaves);
        frontier = next;
      }
    } catch (error) {
      if (error instanceof TlogError) return { frontier, end };
      throw error;
    }
    end = frame.end;
  }
}

/**
 * The newest entry names the counter's value. After a crash between the two the counter is one behind, for entries that were
 * never answered. @returns the counter's value, and what to write down where an operator accepted another one.
 */
async function checkCounter(
  log: SettledLog,
  counter: MonotonicCounter | "none",
  acceptRollback: bigint | "any" | undefined,
): Promise<{ counted: bigint; event?: LogEvent }> {
  const logged = counterOf(await log.entry(log.size - 1));
  if (counter === "none") {
    if (logged === UNCOUNTED) return { counted: UNCOUNTED };
    throw new SignLogError(
      "OTHER_COUNTER",
      `this sign log was kept with a counter: it ends at ${logged}, and there is none`,
    );
  }
  const counted = await counter.read();
  if (counted === logged) return { counted };
  if (counted === logged - 1n) return { counted: await counter.increment() };
  if (acceptRollback === "any" || acceptRollback === counted)
    return { counted, event: { op: "accept-rollback", found: logged, expected: counted } };
  if (counted > logged) {
    throw new SignLogError(
      "ROLLED_BACK",
      `this sign log is not the newest: it ends at the counter's ${logged}, and the counter stands at ${counted}. An older copy ` +
        `of the disk was put back, or its end was cut off. If you know why, accept it once with --accept-rollback=${counted}`,
    );
  }
  throw new SignLogError(
    "OTHER_COUNTER",
    `this sign log was kept with another counter: it ends at ${logged}, and the counter stands at ${counted}`,
  );
}

/** The name is a setting, and part of the key: another one is no damage, and looks the same. */
function keyOf({ key }: NoteSigner): string {
  return `the key of "${key.name}" (is that what the worker was always called?)`;
}

function checked<T>(work: () => T, what: string): T {
  try {
    return work();
  } catch (error) {
    throw damaged(what, error);
  }
}

function damaged(what: string, cause?: unknown): SignLogError {
  return new SignLogError("DAMAGED", `the sign log is damaged: ${what}`, { cause });
}
