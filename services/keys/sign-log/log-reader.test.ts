import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import fc from "fast-check";
import { beforeAll, expect, onTestFinished, test } from "vitest";

import type { OmniAccount } from "@agentkeys/lib/account";
import { ErrorReason } from "@agentkeys/lib/failure";
import { systemRandom } from "@agentkeys/lib/random";
import { verifyCheckpoint } from "@agentkeys/lib/tlog";

import { AccountIndex } from "./account-index.ts";
import { openLogFolder } from "./log-files.ts";
import { LogReader } from "./log-reader.ts";
import { SettledLog } from "./settled-log.ts";
import type { SignLogError } from "./sign-log-error.ts";
import { freshLog, recordOf, signer } from "./testing/harness.ts";

const ENTRIES = 1800;
const [busy, rare, none] = ["ab", "cd", "ef"].map((byte) => byte.repeat(32)) as [OmniAccount, OmniAccount, OmniAccount];
/** Whose entry stands where: the first is the log's own. */
const owners = Array.from({ length: ENTRIES }, (_, i) => (i === 0 ? undefined : i % 97 === 3 ? rare : busy));
const truth = (account: OmniAccount): number[] => owners.flatMap((owner, i) => (owner === account ? [i] : []));

let folder: string;
beforeAll(async () => {
  const made = await freshLog({ settleEvery: 300 });
  for (let i = 1; i < ENTRIES;) {
    const some = owners.slice(i, i + 100).map((owner, k) => made.log.append(recordOf(i + k, owner)));
    await Promise.all(some);
    i += some.length;
  }
  // Without a last entry of its own: the counter is with every commit.
  await made.log.close();
  folder = made.folder;
  return made.remove;
});

/** A reader of the log as it lies on the disk, which knows nothing of it yet. */
async function readerOf(
  maxBundles?: number,
): Promise<{ reader: LogReader; index: AccountIndex; damage: SignLogError[] }> {
  const log = new SettledLog(await openLogFolder(folder));
  await log.restore(verifyCheckpoint(readFileSync(join(folder, "checkpoint"), "utf8"), signer.key).size);
  const index = new AccountIndex(systemRandom, maxBundles);
  const damage: SignLogError[] = [];
  const onDamage = (found: SignLogError): void => void damage.push(found);
  return { reader: new LogReader({ log, size: () => log.size, onDamage, random: systemRandom, index }), index, damage };
}

async function allOf(reader: LogReader, account: OmniAccount, from: number, limit: number): Promise<number[]> {
  const seen: number[] = [];
  for (let before: number | undefined = from; before !== undefined;) {
    const page: Awaited<ReturnType<LogReader["entriesOf"]>> = await reader.entriesOf(account, { before, limit });
    expect(page.entries.length).toBeLessThanOrEqual(limit);
    seen.push(...page.entries.map(({ index }) => index));
    before = page.next;
  }
  return seen;
}

test("pages are all of an account's entries and no others, however much of the log the index knows", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(busy, rare, none),
      fc.integer({ min: 0, max: ENTRIES }),
      fc.integer({ min: 1, max: 400 }),
      fc.integer({ min: 0, max: 9 }),
      fc.constantFrom(1, 3, 1000),
      fc.boolean(),
      async (account, before, limit, audited, maxBundles, meanwhile) => {
        const { reader } = await readerOf(maxBundles);
        let left = audited;
        const audit = reader.audit(() => left-- <= 0);
        if (!meanwhile) await audit;
        const seen = await allOf(reader, account, before, limit);
        expect(seen).toEqual(
          truth(account)
            .filter((i) => i < before)
            .toReversed(),
        );
        await audit;
      },
    ),
    { numRuns: 60 },
  );
}, 60_000);

test("once the whole log was audited, only bundles that have some of an account's are read", async () => {
  const { reader } = await readerOf();
  expect(await reader.audit(() => false)).toEqual({ entries: ENTRIES });
  // The bundle is no more what the index was made from: nobody who asks for others' entries comes by.
  const path = join(folder, "tile/entries/000");
  const good = readFileSync(path);
  onTestFinished(() => writeFileSync(path, good));
  writeFileSync(path, good.subarray(0, -1));
  expect(await allOf(reader, none, ENTRIES, 50)).toEqual([]);
  await expect(allOf(reader, rare, ENTRIES, 50)).rejects.toMatchObject({ reason: ErrorReason.SIGN_LOG_UNAVAILABLE });
});

test("what is written while it runs is known when it leaves the memory, and never read for others", async () => {
  const { log, folder: place, remove } = await freshLog({ settleEvery: 300 });
  onTestFinished(remove);
  for (let i = 0; i < 6; i++)
    await Promise.all(Array.from({ length: 100 }, (_, k) => log.append(recordOf(i * 100 + k, busy))));
  const page = { before: log.head.size, limit: 10 };
  rmSync(join(place, "tile/entries/000"));
  expect(await log.entriesOf(rare, page)).toEqual({ entries: [] });
  await log.append(recordOf(600, rare));
  expect((await log.entriesOf(rare, { before: log.head.size, limit: 1 })).entries).toMatchObject([{ index: 601 }]);
});

test("an index knows the newest bundles where there are more than it may know, in whatever order they come", async () => {
  const { reader, index } = await readerOf(3);
  await reader.audit(() => false);
  expect([0, 1, 2, 3, 4, 5, 6, 7].filter((bundle) => index.has(bundle))).toEqual([4, 5, 6]);
  const other = new AccountIndex(systemRandom, 2);
  const entries = Array.from({ length: 256 }, () => Buffer.from("{}"));
  for (const bundle of [3, 0, 9, 5, 10, 1]) other.add(bundle, entries);
  expect([0, 1, 3, 5, 9, 10].filter((bundle) => other.has(bundle))).toEqual([9, 10]);
});

test("a disk that cannot be read for a moment is no damage; one with another log is", async () => {
  const { reader, damage } = await readerOf();
  const log = new SettledLog({
    ...(await openLogFolder(folder)),
    read: () => Promise.reject(Object.assign(new Error("EMFILE"), { code: "EMFILE" })),
  });
  await expect(log.restore(300)).rejects.toThrow("EMFILE");
  const path = join(folder, "tile/entries/002");
  const good = readFileSync(path, "latin1");
  onTestFinished(() => writeFileSync(path, good, "latin1"));
  writeFileSync(path, good.replace(busy, none), "latin1");
  await expect(allOf(reader, none, ENTRIES, 50)).rejects.toMatchObject({ reason: ErrorReason.SIGN_LOG_UNAVAILABLE });
  expect(damage).toMatchObject([{ code: "DAMAGED" }]);
});
