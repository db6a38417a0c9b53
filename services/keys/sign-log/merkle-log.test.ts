import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";

import type { OmniAccount } from "@agentkeys/lib/account";
import { ErrorReason } from "@agentkeys/lib/failure";
import {
  Frontier,
  HASH_LENGTH,
  leafHash,
  parseBundle,
  tilePath,
  tilesOf,
  verifyCheckpoint,
  verifyConsistency,
  verifyInclusion,
} from "@agentkeys/lib/tlog";

import { type Disk, onDisk } from "./testing/flaky-files.ts";
import { account, checkLog, entriesIn, freshLog as makeLog, recordOf, vkey } from "./testing/harness.ts";

const unavailable = expect.objectContaining({ reason: ErrorReason.SIGN_LOG_UNAVAILABLE }) as Error;

const freshLog = async (...args: Parameters<typeof makeLog>): ReturnType<typeof makeLog> => {
  const made = await makeLog(...args);
  onTestFinished(made.remove);
  return made;
};

/** A log on a disk that the test has in its hand. */
async function logOnDisk(
  options: Parameters<typeof makeLog>[0] = {},
): Promise<Awaited<ReturnType<typeof makeLog>> & { disk: Disk }> {
  let disk!: Disk;
  const made = await freshLog({
    ...options,
    wrap: (files) => {
      const wrapped = onDisk(files);
      disk = wrapped.disk;
      return wrapped.files;
    },
  });
  return { ...made, disk };
}

const parsed = (bytes: Uint8Array): Record<string, unknown> =>
  JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;

describe("an entry", () => {
  test("says who, what, when, with which key and what came of it, in canonical JSON, and never the message", async () => {
    const { log } = await freshLog();
    expect(await log.append(recordOf(1))).toEqual({ index: 1n });
    await log.append({ ...recordOf(2), outcome: "MESSAGE_NOT_ALLOWED" });
    const [first, refused] = (await entriesIn(log)).map(({ bytes }) => bytes);
    const text = Buffer.from(first!).toString();
    expect(parsed(first!)).toEqual({
      v: 1,
      seq: 1,
      t: 1_790_000_000_000,
      op: "sign",
      omni_account: account,
      message_sha256: createHash("sha256").update("canary message 1").digest("hex"),
      key_version: 1,
      caller: "session-1",
      outcome: "signed",
      request_id: "request-1",
      counter: "42",
      salt: expect.stringMatching(/^[\w-]{22}$/) as string,
    });
    expect(Object.keys(parsed(first!))).toEqual(Object.keys(parsed(first!)).toSorted());
    expect(text).toBe(JSON.stringify(parsed(first!)));
    expect(parsed(refused!)).toMatchObject({ outcome: "MESSAGE_NOT_ALLOWED", seq: 2 });
    expect(text).not.toMatch(/canary|63616e617279/);
  });

  test("cannot be guessed from its hash: two that say the same have other leaves", async () => {
    const { log } = await freshLog();
    await log.append(recordOf(1));
    await log.append(recordOf(1));
    const salts = (await entriesIn(log)).map(({ bytes }) => parsed(bytes)["salt"]);
    expect(new Set(salts).size).toBe(2);
  });
});

describe("an append", () => {
  test("resolves once the entry is durable and counted, not before", async () => {
    const { log, disk, counter } = await logOnDisk();
    let release!: () => void;
    const reached = new Promise<void>((atSync) => {
      disk.beforeSync = () =>
        new Promise((resolve) => {
          atSync();
          release = resolve;
        });
    });
    let resolved = false;
    const before = { size: log.head.size, counter: counter.value };
    const append = log.append(recordOf(1)).then(() => (resolved = true));
    await reached;
    await new Promise(setImmediate);
    expect([resolved, log.head.size, counter.value]).toEqual([false, before.size, before.counter]);
    release();
    await append;
    expect([log.head.size, counter.value]).toEqual([before.size + 1, before.counter + 1n]);
    expect(log.head.counter).toBe(counter.value);
  });

  test("shares its commit with those that come while another is under way", async () => {
    const { log, disk, counter } = await logOnDisk();
    const [syncs, counted] = [disk.syncs, counter.value];
    const places = await Promise.all(Array.from({ length: 200 }, (_, i) => log.append(recordOf(i))));
    expect(places.map(({ index }) => index)).toEqual(places.map((_, i) => BigInt(i + 1)));
    // The first begins at once, and all others are there before it is done.
    expect(disk.syncs - syncs).toBe(2);
    expect(counter.value - counted).toBe(2n);
    await checkLog(log);
  });

  test("names an entry that every later checkpoint proves", async () => {
    const { log } = await freshLog({ settleEvery: 50 });
    const { index } = await log.append(recordOf(0));
    const [first] = await entriesIn(log);
    for (let i = 1; i <= 120; i++) {
      const earlier = log.head;
      await log.append(recordOf(i));
      const proof = await log.inclusionProof(Number(index), log.head.size);
      verifyInclusion(leafHash(first!.bytes), Number(index), log.head, proof);
      verifyConsistency(earlier, log.head, await log.consistencyProof(earlier.size, log.head.size));
      expect(verifyCheckpoint(log.head.checkpoint, vkey)).toMatchObject({
        size: log.head.size,
        origin: log.head.origin,
      });
    }
  });
});

describe("a disk without room", () => {
  test("stops signing with SIGN_LOG_UNAVAILABLE, and the log goes on once there is room", async () => {
    const { log, disk, reopen } = await logOnDisk();
    await log.append(recordOf(1));
    const { head } = log;
    disk.room = 100;
    await expect(log.append(recordOf(2))).rejects.toEqual(unavailable);
    await expect(Promise.all([log.append(recordOf(3)), log.append(recordOf(4))])).rejects.toEqual(unavailable);
    expect(log.head).toEqual(head);
    disk.room = Infinity;
    expect(await log.append(recordOf(5))).toEqual({ index: 2n });
    await checkLog(log, head);
    // A crash while it is full, with half a frame at the end.
    disk.room = 100;
    await expect(log.append(recordOf(6))).rejects.toEqual(unavailable);
    const again = await reopen();
    expect(again.head.size).toBe(3);
    await checkLog(again, head);
  });

  test("that has room for the journal but not for tiles loses nothing", async () => {
    const { log, disk, reopen } = await logOnDisk({ settleEvery: 4 });
    disk.room = 2_500;
    const accepted = [];
    for (let i = 0; i < 10; i++) accepted.push(await log.append(recordOf(i)).catch(() => undefined));
    const good = accepted.filter((place) => place !== undefined);
    expect(good.length).toBeGreaterThan(2);
    expect(good.length).toBeLessThan(10);
    disk.room = Infinity;
    await log.append(recordOf(10));
    await log.close();
    const again = await reopen();
    expect(again.head.size).toBe(good.length + 2);
    await checkLog(again);
  });

  test("a sync that failed is not tried again: nobody knows what is on the disk", async () => {
    const { log, disk, reopen } = await logOnDisk();
    await log.ready();
    disk.beforeSync = () => Promise.reject(new Error("EIO"));
    await expect(log.append(recordOf(1))).rejects.toEqual(unavailable);
    disk.beforeSync = undefined;
    await expect(log.append(recordOf(2))).rejects.toEqual(unavailable);
    await expect(log.ready()).rejects.toThrow("takes no more entries");
    await log.close();
    await checkLog(await reopen());
  });
});

describe("the counter", () => {
  test("that fails stops signing, and one whose answer was lost is asked before it is increased again", async () => {
    const { log, counter } = await freshLog();
    const increment = (): Promise<bigint> => Promise.resolve(++counter.value);
    const before = counter.value;
    counter.increment = async () => {
      await increment();
      throw new Error("the answer was lost");
    };
    await expect(log.append(recordOf(1))).rejects.toEqual(unavailable);
    counter.increment = () => Promise.reject(new Error("the chip is busy"));
    // What was lost had been done; this entry is the next one's.
    expect(counter.value).toBe(before + 1n);
    expect(await log.append(recordOf(2))).toEqual({ index: 2n });
    await expect(log.append(recordOf(3))).rejects.toEqual(unavailable);
    counter.increment = increment;
    await log.append(recordOf(4));
    expect(counter.value).toBe(before + 2n);
    await checkLog(log);
  });

  test("that somebody else increases as well ends the log's service: there may be two of it", async () => {
    const { log, counter } = await freshLog();
    await counter.increment();
    await expect(log.append(recordOf(1))).rejects.toEqual(unavailable);
    await expect(log.append(recordOf(2))).rejects.toEqual(unavailable);
  });

  test("goes up with so many entries, were the clock held still to spare it", async () => {
    const { log, counter } = await freshLog({ countEveryMs: 1000, settleEvery: 64 });
    const start = counter.value;
    for (let i = 0; i < 200; i++) await log.append(recordOf(i));
    expect(counter.value).toBe(start + 3n);
  });

  test("is spared where it may be, and covers everything when the log is closed", async () => {
    let now = 1_790_000_000_000;
    const { log, counter, reopen } = await freshLog({ countEveryMs: 1000, clock: () => now });
    const start = counter.value;
    for (let i = 0; i < 5; i++) await log.append(recordOf(i));
    expect(counter.value).toBe(start);
    now += 1000;
    for (let i = 0; i < 5; i++) await log.append(recordOf(i));
    expect(counter.value).toBe(start + 1n);
    await log.close();
    expect(counter.value).toBe(start + 2n);
    const again = await reopen();
    expect(again.head.size).toBe(12);
    await checkLog(again);
  });
});

describe("the log on the disk", () => {
  test("is what c2sp.org/tlog-tiles says: checkpoint, tiles and bundles, which lead to its root", async () => {
    const { log, folder } = await freshLog({ settleEvery: 300 });
    for (let i = 0; i < 7; i++)
      await Promise.all(Array.from({ length: 100 }, (_, k) => log.append(recordOf(i * 100 + k))));
    await log.close();
    const { size, root } = verifyCheckpoint(readFileSync(join(folder, "checkpoint"), "utf8"), vkey);
    expect(size).toBe(701);
    const leaves: Uint8Array[] = [];
    for (const name of tilesOf(size)) {
      const contents = readFileSync(join(folder, tilePath(name)));
      if (name.level === "entries") leaves.push(...parseBundle(contents, name.width).map(leafHash));
      else expect(contents.length).toBe(name.width * HASH_LENGTH);
      if (name.level === 0) expect(contents).toEqual(Buffer.concat(leaves.slice(name.index * 256)));
    }
    expect(Buffer.from(Frontier.empty.append(leaves).root())).toEqual(Buffer.from(root));
    // Partial tiles are gone where the full one is there.
    expect(readdirSync(join(folder, "tile/0")).toSorted()).toEqual(["000", "001", "002.p"]);
    expect(readFileSync(join(folder, "journal"))).toHaveLength(0);
    expect(readdirSync(folder, { recursive: true }).filter((path) => String(path).endsWith(".new"))).toEqual([]);
  });

  test("is the same log after any sequence of appends, restarts and crashes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 300 }), fc.constantFrom("go on", "close", "crash")), {
          maxLength: 4,
        }),
        fc.constantFrom(5, 256, 1024),
        async (steps, settleEvery) => {
          const made = await makeLog({ settleEvery });
          try {
            let { log } = made;
            let count = 1;
            for (const [appends, then] of steps) {
              const earlier = log.head;
              await Promise.all(Array.from({ length: appends }, (_, i) => log.append(recordOf(count + i))));
              count += appends;
              if (then === "close") await log.close();
              if (then !== "go on") log = await made.reopen();
              expect(log.head.size).toBe(count);
              await checkLog(log, earlier);
              expect(await log.audit()).toEqual({ entries: count });
            }
            const ids = (await entriesIn(log)).map(({ bytes }) => parsed(bytes)["request_id"]);
            expect(ids).toEqual(Array.from({ length: count - 1 }, (_, i) => `request-${i + 1}`));
          } finally {
            await made.remove();
          }
        },
      ),
      { numRuns: 6 },
    );
  }, 120_000);
});

describe("an account's entries", () => {
  test("are its own alone, the newest first, page by page", async () => {
    const { log } = await freshLog({ settleEvery: 100 });
    const other = "cd".repeat(32) as OmniAccount;
    for (let i = 0; i < 30; i++) {
      await Promise.all(
        Array.from({ length: 20 }, (_, k) => log.append(recordOf(i * 20 + k, k % 5 === 0 ? account : other))),
      );
    }
    const seen: { index: number; bytes: Uint8Array }[] = [];
    let before: number | undefined = log.head.size;
    while (before !== undefined) {
      const page: Awaited<ReturnType<typeof log.entriesOf>> = await log.entriesOf(account, { before, limit: 25 });
      expect(page.entries.length).toBeLessThanOrEqual(25);
      seen.push(...page.entries);
      before = page.next;
    }
    expect(seen).toHaveLength(120);
    expect(seen.map(({ index }) => index)).toEqual(seen.map(({ index }) => index).toSorted((a, b) => b - a));
    expect(new Set(seen.map(({ bytes }) => parsed(bytes)["omni_account"]))).toEqual(new Set([account]));
  });

  test("do not include another's that names the account in some other field", async () => {
    const { log } = await freshLog();
    const other = "cd".repeat(32) as OmniAccount;
    await log.append({ ...recordOf(1, other), requestId: account });
    expect((await log.entriesOf(account, { before: log.head.size, limit: 10 })).entries).toEqual([]);
  });

  test("and proofs beyond the log's end are LOG_POSITION_UNKNOWN", async () => {
    const { log } = await freshLog();
    const unknown = expect.objectContaining({ reason: ErrorReason.LOG_POSITION_UNKNOWN }) as Error;
    await expect(log.inclusionProof(1, 1)).rejects.toEqual(unknown);
    await expect(log.inclusionProof(0, 2)).rejects.toEqual(unknown);
    await expect(log.consistencyProof(0, 2)).rejects.toEqual(unknown);
    await expect(log.consistencyProof(1, 0)).rejects.toEqual(unknown);
  });
});
