import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import { Frontier, leafHash, type NoteSigner, signCheckpoint } from "@agentkeys/lib/tlog";

import type { MonotonicCounter } from "./counter.ts";
import { encodeLogEvent, encodeSignEntry, type EntryPlace, type LogEvent } from "./entry.ts";
import { encodeFrame } from "./frame.ts";
import type { JournalFile } from "./log-files.ts";
import { LogReader } from "./log-reader.ts";
import type { SettledLog } from "./settled-log.ts";
import type { ProvableLog, SignLog, SignRecord } from "./sign-log.ts";
import { SignLogError } from "./sign-log-error.ts";
import { logUnavailable } from "./unavailable.ts";

/** A log at some moment: what a checkpoint says of it, and what the worker's evidence covers. */
export interface LogHead {
  /** A signed note. */
  checkpoint: string;
  origin: string;
  size: number;
  root: Uint8Array;
  /** The counter's value that goes with it; 0 where there is none. */
  counter: bigint;
}

/** The durable record of signatures as a Merkle tree. `openMerkleSignLog` opens one. */
export interface MerkleSignLog extends SignLog, ProvableLog {
  append(record: SignRecord): Promise<{ index: bigint }>;
  /** Writes down what is no request for a signature. @throws Failure SIGN_LOG_UNAVAILABLE */
  note(event: LogEvent): Promise<void>;
  readonly head: Readonly<LogHead>;
  /** Whether it goes on from another log than the counter knew, which an operator accepted. */
  readonly isAccepted: boolean;
  /** The root of the tree when it had `size` entries. @throws Failure LOG_POSITION_UNKNOWN, SIGN_LOG_UNAVAILABLE */
  rootOf(size: number): Promise<Uint8Array>;
  /**
   * Reads every entry and hash on the disk, the newest first. It takes a while, and may run beside everything else; a log that is found damaged
   * takes no more entries. It ends early, with the number of those that it read, when the log is closed. @throws SignLogError DAMAGED
   */
  audit(): Promise<{ entries: number }>;
  /** Rejects when nothing can be appended any more, and says why: for what reports readiness. */
  ready(): Promise<void>;
}

/** What a log is made of once its disk was found good. */
export interface MerkleLogParts {
  log: SettledLog;
  frontier: Frontier;
  journal: JournalFile;
  /** Where the journal's last whole frame ends. */
  journalEnd: number;
  signer: NoteSigner;
  counter: MonotonicCounter | "none";
  /** What the counter stands at. */
  counted: bigint;
  clock: Clock;
  random: RandomBytes;
  /** How often at most the counter is increased, in milliseconds; 0 for every commit. */
  countEveryMs: number;
  /** After how many entries tiles are written and the journal is begun anew. */
  settleEvery: number;
  isAccepted: boolean;
}

/** Entries of one commit: what a frame counts in 16 bits, and what a batch should not make anyone wait for. */
const MAX_COMMIT = 256;

/** An entry that waits to be committed. */
interface Waiting {
  encode: (place: EntryPlace) => Uint8Array;
  resolve: (place: { index: bigint }) => void;
  reject: (failure: unknown) => void;
}

/**
 * Many appends, one commit: the first begins at once, and those that come while it is being made durable wait for the next. A commit is one write of a frame
 * to the journal, one fdatasync, one increment of the counter, in this order. Entries of a crash in between were
 * never answered, so that they may be there or not; and the counter is at most one behind what is on the disk.
 */
export class MerkleLog implements MerkleSignLog {
  head: LogHead;
  readonly isAccepted: boolean;
  private readonly reader: LogReader;
  private frontier: Frontier;
  private journalEnd: number;
  private counted: bigint;
  private countedAt = -Infinity;
  /** How many entries there were then. */
  private countedSize: number;
  private waiting: Waiting[] = [];
  private working: Promise<void> | undefined;
  private closed = false;
  /** Whether an increment was begun whose answer never came. */
  private countLost = false;
  /** Why nothing can be appended any more. */
  private broken: unknown;

  constructor(private readonly parts: MerkleLogParts) {
    this.isAccepted = parts.isAccepted;
    this.frontier = parts.frontier;
    this.journalEnd = parts.journalEnd;
    this.counted = parts.counted;
    this.countedSize = parts.frontier.size;
    this.head = this.headOf(this.frontier, this.sign(this.frontier));
    this.reader = new LogReader({
      log: parts.log,
      size: () => this.head.size,
      onDamage: (damage) => (this.broken ??= damage),
      random: parts.random,
    });
  }

  append(record: SignRecord): Promise<{ index: bigint }> {
    return this.enqueue((place) => encodeSignEntry(record, place));
  }

  /** Writes down what the log itself has to tell. */
  async note(event: LogEvent): Promise<void> {
    await this.enqueue((place) => encodeLogEvent(event, place));
  }

  async close(): Promise<void> {
    if (this.closed) return;
    // The counter may be behind by what came since it was last increased: the last entry makes up for it.
    if (this.parts.counter !== "none" && this.parts.countEveryMs > 0 && this.broken === undefined) {
      this.countedAt = -Infinity;
      await this.note({ op: "close" }).catch(() => undefined);
    }
    this.closed = true;
    await this.working;
    try {
      if (this.broken === undefined && this.parts.log.unsettled > 0) await this.settle();
    } finally {
      await this.parts.journal.close();
    }
  }

  rootOf(size: number): Promise<Uint8Array> {
    return this.reader.rootOf(size);
  }

  inclusionProof(index: number, size: number): Promise<Uint8Array[]> {
    return this.reader.inclusionProof(index, size);
  }

  consistencyProof(fromSize: number, toSize: number): Promise<Uint8Array[]> {
    return this.reader.consistencyProof(fromSize, toSize);
  }

  entriesOf(...asked: Parameters<ProvableLog["entriesOf"]>): ReturnType<ProvableLog["entriesOf"]> {
    return this.reader.entriesOf(...asked);
  }

  async audit(): Promise<{ entries: number }> {
    try {
      return await this.reader.audit(() => this.closed);
    } catch (error) {
      this.broken ??= error;
      throw error;
    }
  }

  ready(): Promise<void> {
    if (this.broken === undefined && !this.closed) return Promise.resolve();
    return Promise.reject(new Error("the sign log takes no more entries", { cause: this.broken }));
  }

  private enqueue(encode: Waiting["encode"]): Promise<{ index: bigint }> {
    if (this.closed) return Promise.reject(logUnavailable(new Error("the log was closed")));
    return new Promise((resolve, reject) => {
      this.waiting.push({ encode, resolve, reject });
      this.working ??= this.work();
    });
  }

  private async work(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0, MAX_COMMIT);
      try {
        const first = await this.commit(batch.map(({ encode }) => encode));
        batch.forEach(({ resolve }, i) => resolve({ index: BigInt(first + i) }));
      } catch (error) {
        const failure = logUnavailable(error);
        for (const { reject } of batch) reject(failure);
      }
      if (this.parts.log.unsettled >= this.parts.settleEvery && this.broken === undefined) {
        // The entries are durable in the journal; where tiles find no room, they are tried again later.
        await this.settle().catch(() => undefined);
      }
    }
    // In the same step as the look at who waits: who comes next starts it again.
    this.working = undefined;
  }

  /** @returns the index of the first entry. */
  private async commit(encoders: readonly Waiting["encode"][]): Promise<number> {
    if (this.broken !== undefined) throw new Error("the sign log takes no more entries", { cause: this.broken });
    const { log, journal, counter, clock, random, countEveryMs, settleEvery } = this.parts;
    const time = clock();
    const first = this.frontier.size;
    // The clock is the host's, and may stand still: so many entries are counted whatever it says.
    const soon = Math.abs(time - this.countedAt) < countEveryMs && first - this.countedSize < settleEvery;
    const counts = counter !== "none" && !soon;
    const next = counts ? this.counted + 1n : this.counted;
    const entries = encoders.map((encode, i) => encode({ seq: first + i, time, counter: next, random }));
    const leaves = entries.map(leafHash);
    const frontier = this.frontier.append(leaves);
    const checkpoint = this.sign(frontier);
    const frame = encodeFrame({ entries, checkpoint });

    // What a failed write leaves behind is overwritten by the next frame, and cut off when the log is opened.
    await journal.write(frame, this.journalEnd);
    await journal.sync().catch((error: unknown) => {
      this.broken = error;
      throw error;
    });
    this.journalEnd += frame.length;
    this.frontier = frontier;
    log.append(entries, leaves);
    if (counts) await this.count(counter, next, time);
    this.head = this.headOf(frontier, checkpoint);
    return first;
  }

  private async count(counter: MonotonicCounter, expected: bigint, time: number): Promise<void> {
    // Where the answer was lost the counter may have moved: it is asked first.
    const found = this.countLost ? await counter.read() : undefined;
    this.countLost = true;
    const counted = found === expected ? found : await counter.increment();
    this.countLost = false;
    if (counted !== expected) {
      this.broken = new SignLogError(
        "OTHER_COUNTER",
        `the counter is at ${counted}, not ${expected}: somebody else uses it`,
      );
      throw this.broken as SignLogError;
    }
    this.counted = counted;
    this.countedAt = time;
    this.countedSize = this.frontier.size;
  }

  private async settle(): Promise<void> {
    this.reader.settled(await this.parts.log.settle(this.sign(this.frontier)));
    await this.parts.journal.truncate(0);
    this.journalEnd = 0;
  }

  private sign(frontier: Frontier): string {
    return signCheckpoint({ size: frontier.size, root: frontier.root() }, this.parts.signer);
  }

  private headOf(frontier: Frontier, checkpoint: string): LogHead {
    const origin = this.parts.signer.key.name;
    return { checkpoint, origin, size: frontier.size, root: frontier.root(), counter: this.counted };
  }
}
