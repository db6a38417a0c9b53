import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { openLogFolder } from "./log-files.ts";
import { freshLog, recordOf } from "./testing/harness.ts";

const damaged: unknown = expect.objectContaining({ name: "SignLogError", code: "DAMAGED" });

/** A log that was closed, and a file beside it that is none of it. */
async function closedLog() {
  const made = await freshLog({ settleEvery: 300 });
  onTestFinished(made.remove);
  await Promise.all(Array.from({ length: 299 }, (_, i) => made.log.append(recordOf(i))));
  await made.log.close();
  const foreign = join(mkdtempSync(join(tmpdir(), "agentkeys-elsewhere-")), "foreign");
  writeFileSync(foreign, "not the log's");
  onTestFinished(() => rmSync(join(foreign, ".."), { recursive: true }));
  return { ...made, foreign };
}

test.each(["checkpoint", "journal", "tile/0/001.p/44", "tile/entries/001.p/44"])(
  "%s that is a link, a pipe, a folder or far too long is damage, and nothing is waited for or followed",
  async (name) => {
    const { folder, reopen, foreign } = await closedLog();
    const path = join(folder, name);
    const kept = `${path}-kept`;
    renameSync(path, kept);
    const replacements = [
      () => symlinkSync(kept, path),
      () => symlinkSync(foreign, path),
      () => symlinkSync("/dev/zero", path),
      () => execFileSync("mkfifo", [path]),
      () => mkdirSync(path),
      () => {
        writeFileSync(path, "");
        truncateSync(path, 2 ** 34);
      },
    ];
    for (const replace of replacements) {
      replace();
      await expect(reopen()).rejects.toEqual(damaged);
      rmSync(path, { recursive: true });
    }
    expect(readFileSync(foreign, "utf8")).toBe("not the log's");
    renameSync(kept, path);
    await expect(reopen()).resolves.toBeDefined();
  },
);

test("what is written takes the place of a link or a folder in its way, and does not go through it", async () => {
  const { folder, foreign } = await closedLog();
  const files = await openLogFolder(folder);
  symlinkSync(foreign, join(folder, "checkpoint.new"));
  await files.write("checkpoint", Buffer.from("mine"));
  mkdirSync(join(folder, "checkpoint.new/more"), { recursive: true });
  await files.write("checkpoint", Buffer.from("mine again"));
  expect(readFileSync(join(folder, "checkpoint"), "utf8")).toBe("mine again");
  expect(readFileSync(foreign, "utf8")).toBe("not the log's");
  expect(existsSync(join(folder, "checkpoint.new"))).toBe(false);
});
