import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, onTestFinished, test } from "vitest";

import { ErrorReason } from "@agentkeys/lib/failure";
import { createNoteSigner, encodeBundle, parseBundle, signCheckpoint, verifyConsistency } from "@agentkeys/lib/tlog";

import { decodeFrame } from "./frame.ts";
import type { MerkleSignLog } from "./merkle-log.ts";
import type { SignLogErrorCode } from "./sign-log-error.ts";
import { memoryCounter } from "./testing/counters.ts";
import { checkLog, freshLog as makeLog, recordOf, signer } from "./testing/harness.ts";

type Made = Awaited<ReturnType<typeof makeLog>>;

const code = (expected: SignLogErrorCode): Error =>
  expect.objectContaining({ name: "SignLogError", code: expected }) as Error;

/** A log with entries, closed or left as by a crash. */
async function logWith(
  entries: number,
  { close = false, ...options }: Parameters<typeof makeLog>[0] & { close?: boolean } = {},
): Promise<Made> {
  const made = await makeLog(options);
  onTestFinished(made.remove);
  for (let i = 0; i < entries; i++) await made.log.append(recordOf(i));
  if (close) await made.log.close();
  return made;
}

const journalOf = ({ folder }: Made): string => join(folder, "journal");

/** Where each frame of the journal ends. */
function frameEnds(made: Made): number[] {
  const journal = readFileSync(journalOf(made));
  const ends: number[] = [];
  for (let end = 0; ;) {
    const frame = decodeFrame(journal, end);
    if (frame === undefined) return ends;
    ends.push((end = frame.end));
  }
}

describe("the end of the journal", () => {
  test("torn anywhere in its last, unanswered frame, is cut off, and the log goes on", async () => {
    const made = await logWith(2);
    // A crash before the counter was increased: the last frame was never answered.
    made.counter.value--;
    const whole = readFileSync(journalOf(made));
    const [, , last = 0] = [0, ...frameEnds(made)];
    for (const length of [last, last + 1, last + 9, last + 10, last + 11, whole.length - 1]) {
      writeFileSync(journalOf(made), whole.subarray(0, length));
      const again = await made.reopen();
      expect(again.head.size).toBe(2);
      await checkLog(again);
      writeFileSync(journalOf(made), whole.subarray(0, last));
    }
    for (const rubbish of [
      Buffer.alloc(64),
      Buffer.alloc(64, 0xff),
      whole.subarray(0, last),
      whole.subarray(last - 40),
    ]) {
      writeFileSync(journalOf(made), Buffer.concat([whole.subarray(0, last), rubbish]));
      expect((await made.reopen()).head.size).toBe(2);
    }
    const again = await made.reopen();
    expect(readFileSync(journalOf(made))).toHaveLength(last);
    expect(await again.append(recordOf(9))).toEqual({ index: 2n });
  });

  test("whole, but not counted when the crash came, is kept, and counted", async () => {
    const made = await logWith(3);
    const counted = made.counter.value--;
    const again = await made.reopen();
    expect([again.head.size, made.counter.value, again.head.counter]).toEqual([4, counted, counted]);
    await checkLog(again, made.log.head);
  });

  test("cut off by one answered frame or more is a rollback, and nothing on the disk is touched", async () => {
    const made = await logWith(5);
    const whole = readFileSync(journalOf(made));
    for (const end of frameEnds(made).slice(0, -1)) {
      writeFileSync(journalOf(made), whole.subarray(0, end + 3));
      await expect(made.reopen()).rejects.toEqual(code("ROLLED_BACK"));
      expect(readFileSync(journalOf(made))).toHaveLength(end + 3);
    }
    rmSync(journalOf(made));
    await expect(made.reopen()).rejects.toEqual(code("MISSING"));
  });

  test("with its frames in another order, an entry exchanged, or any byte changed is not taken", async () => {
    const made = await logWith(4);
    const whole = readFileSync(journalOf(made));
    const ends = frameEnds(made);
    const frame = (i: number): Buffer => whole.subarray(ends[i - 1] ?? 0, ends[i]);
    const variants = [
      Buffer.concat([frame(0), frame(2), frame(1), frame(3), frame(4)]),
      Buffer.concat([frame(0), frame(1), frame(1), frame(3), frame(4)]),
      Buffer.concat([frame(0), frame(1), frame(3), frame(4)]),
    ];
    for (let at = 0; at < whole.length; at += 97) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ 0x20;
      variants.push(changed);
    }
    for (const variant of variants) {
      writeFileSync(journalOf(made), variant);
      await expect(made.reopen()).rejects.toMatchObject({ name: "SignLogError" });
    }
    writeFileSync(journalOf(made), whole);
    await checkLog(await made.reopen(), made.log.head);
  });
});

describe("an older copy of the whole folder", () => {
  test("put back is a rollback, however old, until an operator accepts it, which the log then says", async () => {
    const made = await logWith(3, { close: true });
    const copy = `${made.folder}-copy`;
    cpSync(made.folder, copy, { recursive: true });
    const log = await made.reopen();
    await log.append(recordOf(10));
    await log.append(recordOf(11));
    await log.close();
    const kept = log.head;

    rmSync(made.folder, { recursive: true });
    cpSync(copy, made.folder, { recursive: true });
    await expect(made.reopen()).rejects.toEqual(code("ROLLED_BACK"));
    await expect(made.reopen({ acceptRollback: made.counter.value - 1n })).rejects.toEqual(code("ROLLED_BACK"));
    const accepted = await made.reopen({ acceptRollback: made.counter.value });
    expect([log.isAccepted, accepted.isAccepted]).toEqual([false, true]);
    await accepted.append(recordOf(12));
    await accepted.close();
    const bundle = readFileSync(join(made.folder, "tile/entries/000.p/6"));
    const texts = parseBundle(bundle, 6).map((entry) => Buffer.from(entry).toString());
    expect(texts[4]).toContain('"op":"accept-rollback"');
    // It is accepted once, and from then on is a log like any other.
    const again = await made.reopen();
    expect(again.head.size).toBe(6);
    // Whoever kept a checkpoint sees it all the same.
    const proof = await again.consistencyProof(kept.size, again.head.size);
    expect(() => verifyConsistency(kept, again.head, proof)).toThrow(
      expect.objectContaining({ code: "PROOF" }) as Error,
    );
  });

  test("and the same disk taken on by two workers: the second to sign is found out", async () => {
    const made = await logWith(2, { close: true });
    const [one, other] = [await made.reopen(), await made.reopen({}, { beside: true })];
    await one.append(recordOf(5));
    await expect(other.append(recordOf(6))).rejects.toMatchObject({ reason: ErrorReason.SIGN_LOG_UNAVAILABLE });
    await expect(other.append(recordOf(7))).rejects.toMatchObject({ reason: ErrorReason.SIGN_LOG_UNAVAILABLE });
  });

  test("a fork that never meets the counter again is seen by who kept a checkpoint", async () => {
    const made = await logWith(3, { close: true });
    const copy = `${made.folder}-copy`;
    cpSync(made.folder, copy, { recursive: true });
    const counted = made.counter.value;
    const grown = async (n: number): Promise<MerkleSignLog> => {
      made.counter.value = counted;
      const log = await made.reopen();
      for (let i = 0; i < n; i++) await log.append(recordOf(100 + i));
      await log.close();
      return log;
    };
    const seen = (await grown(3)).head;
    rmSync(made.folder, { recursive: true });
    cpSync(copy, made.folder, { recursive: true });
    await grown(5);
    made.counter.value = counted + 5n;
    const forked = await made.reopen();
    const proof = await forked.consistencyProof(seen.size, forked.head.size);
    expect(() => verifyConsistency(seen, forked.head, proof)).toThrow(
      expect.objectContaining({ code: "PROOF" }) as Error,
    );
  });

  test("with the counter of another machine is refused as well", async () => {
    const made = await logWith(3, { close: true });
    await expect(made.reopen({ counter: memoryCounter(2n) })).rejects.toEqual(code("OTHER_COUNTER"));
  });
});

describe("what is settled", () => {
  test("is refused when the checkpoint is not by the log's key, or about another tree", async () => {
    const made = await logWith(3, { close: true });
    const path = join(made.folder, "checkpoint");
    const good = readFileSync(path);
    const other = createNoteSigner(signer.key.name, Buffer.alloc(32, 9));
    const { size, root } = made.log.head;
    for (const bad of [
      signCheckpoint({ size, root }, other),
      signCheckpoint({ size, root: Buffer.alloc(32, 1) }, signer),
      signCheckpoint({ size: size + 1, root }, signer),
      signCheckpoint({ size: size - 1, root }, signer),
      "",
    ]) {
      writeFileSync(path, bad);
      await expect(made.reopen()).rejects.toEqual(code("DAMAGED"));
    }
    writeFileSync(path, good);
    await checkLog(await made.reopen());
    rmSync(path);
    await expect(made.reopen()).rejects.toEqual(code("MISSING"));
  });

  test("is refused when a file of its right edge is changed, cut off or missing", async () => {
    const made = await logWith(300, { close: true, settleEvery: 300 });
    const paths = ["tile/0/001.p/45", "tile/1/000.p/1", "tile/entries/001.p/45"].map((path) => join(made.folder, path));
    for (const path of paths) {
      const good = readFileSync(path);
      writeFileSync(
        path,
        good.map((byte, i) => (i === good.length - 1 ? byte ^ 1 : byte)),
      );
      await expect(made.reopen()).rejects.toEqual(code("DAMAGED"));
      writeFileSync(path, good);
      truncateSync(path, good.length - 1);
      await expect(made.reopen()).rejects.toEqual(code("DAMAGED"));
      rmSync(path);
      await expect(made.reopen()).rejects.toEqual(code("DAMAGED"));
      writeFileSync(path, good);
    }
    await checkLog(await made.reopen());
  });

  test("and older is never believed: two old entries exchanged are found when they are read, and by an audit", async () => {
    const made = await logWith(300, { close: true, settleEvery: 300 });
    const path = join(made.folder, "tile/entries/000");
    const entries = parseBundle(readFileSync(path), 256);
    [entries[7], entries[8]] = [entries[8]!, entries[7]!];
    writeFileSync(path, encodeBundle(entries));
    const log = await made.reopen();
    const unavailable = expect.objectContaining({ reason: ErrorReason.SIGN_LOG_UNAVAILABLE }) as Error;
    await expect(log.audit()).rejects.toEqual(code("DAMAGED"));
    // From then on it takes nothing more: somebody has been at the disk.
    await expect(log.append(recordOf(1))).rejects.toEqual(unavailable);
  });

  test("an old entry rewritten to hide it from its account is missed, and stops the signing", async () => {
    const made = await logWith(300, { close: true, settleEvery: 300 });
    const path = join(made.folder, "tile/entries/000");
    const text = readFileSync(path, "latin1");
    const at = text.indexOf(recordOf(1).omniAccount, 20_000);
    writeFileSync(path, text.slice(0, at) + "cd".repeat(32) + text.slice(at + 64), "latin1");
    const log = await made.reopen();
    const unavailable = expect.objectContaining({ reason: ErrorReason.SIGN_LOG_UNAVAILABLE }) as Error;
    const page = { before: log.head.size, limit: 1000 };
    await expect(log.entriesOf(recordOf(1).omniAccount, page)).rejects.toEqual(unavailable);
    await expect(log.append(recordOf(1))).rejects.toEqual(unavailable);
  });

  test("an old entry rewritten to hide or to blame somebody is never shown", async () => {
    const made = await logWith(300, { close: true, settleEvery: 300 });
    const path = join(made.folder, "tile/entries/000");
    const text = readFileSync(path, "latin1");
    writeFileSync(path, text.replace("request-7", "request-8"), "latin1");
    const log = await made.reopen();
    await expect(log.entriesOf(recordOf(1).omniAccount, { before: 256, limit: 300 })).rejects.toMatchObject({
      reason: ErrorReason.SIGN_LOG_UNAVAILABLE,
    });
  });

  test("hashes that were changed make no proof, rather than a wrong one", async () => {
    const made = await logWith(300, { close: true, settleEvery: 300 });
    const path = join(made.folder, "tile/0/000");
    const tile = readFileSync(path);
    tile[40] = (tile[40] ?? 0) ^ 1;
    writeFileSync(path, tile);
    const log = await made.reopen();
    await expect(log.inclusionProof(3, log.head.size)).rejects.toMatchObject({
      reason: ErrorReason.SIGN_LOG_UNAVAILABLE,
    });
    await expect(log.audit()).rejects.toEqual(code("DAMAGED"));
  });
});

test("no log is begun where there is none, unless it is the first start; and beginning again changes nothing", async () => {
  const made = await logWith(2, { close: true });
  const again = await made.reopen({ begin: true });
  expect(again.head).toMatchObject({ size: 3, counter: made.counter.value });
  await again.close();
  for (const name of readdirSync(made.folder)) rmSync(join(made.folder, name), { recursive: true });
  await expect(made.reopen()).rejects.toEqual(code("MISSING"));
});

test("without a counter a log is kept and opened again; and one that was kept with a counter is not taken for that", async () => {
  const made = await logWith(3, { close: true, counter: "none" });
  const again = await made.reopen({ counter: "none" });
  expect(again.head).toMatchObject({ size: 4, counter: 0n });
  await again.append(recordOf(4));
  await again.close();
  await expect(made.reopen({ counter: memoryCounter(1n) })).rejects.toEqual(code("ROLLED_BACK"));

  const counted = await logWith(3, { close: true });
  await expect(counted.reopen({ counter: "none" })).rejects.toEqual(code("OTHER_COUNTER"));
});
