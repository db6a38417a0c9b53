import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { systemRandom } from "@agentkeys/lib/random";

import { claimFolder } from "./folder-claim.ts";

const inUse: unknown = expect.objectContaining({ name: "BootRefused", refusal: "IN_USE" });

function freshFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-claim-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Another process that has claimed the folder. */
async function otherWorker(folder: string): Promise<ChildProcess> {
  const program = join(import.meta.dirname, "testing/claim-until-killed.ts");
  const child = spawn(process.execPath, ["--import", import.meta.resolve("tsx"), program, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return child;
}

test("a folder is claimed once, and again when it was released, and nothing of it is left then", async () => {
  const folder = freshFolder();
  const claim = await claimFolder(folder, systemRandom);
  await expect(claimFolder(folder, systemRandom)).rejects.toEqual(inUse);
  await claim.release();
  expect(readdirSync(folder)).toEqual([]);
  await (await claimFolder(folder, systemRandom)).release();
});

test("a process that is stopped has its folder still; one that was killed has not, from that moment on", async () => {
  const folder = freshFolder();
  const other = await otherWorker(folder);
  await expect(claimFolder(folder, systemRandom)).rejects.toEqual(inUse);
  other.kill("SIGSTOP");
  await expect(claimFolder(folder, systemRandom)).rejects.toEqual(inUse);
  other.kill("SIGKILL");
  await once(other, "exit");
  expect(readdirSync(folder)).toHaveLength(1);
  const claim = await claimFolder(folder, systemRandom);
  expect(readdirSync(folder)).toHaveLength(1);
  await claim.release();
});

test("of many that come at the same moment at most one has it, and the next to come alone has", async () => {
  const folder = freshFolder();
  for (let round = 0; round < 20; round++) {
    const all = await Promise.allSettled(Array.from({ length: 5 }, () => claimFolder(folder, systemRandom)));
    const claims = all.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    expect(claims.length).toBeLessThanOrEqual(1);
    for (const claim of claims) await claim.release();
    await (await claimFolder(folder, systemRandom)).release();
  }
});

test("a folder with a long name is claimed as well, and what else lies in one is left alone", async () => {
  const folder = join(freshFolder(), "f".repeat(200));
  mkdirSync(folder);
  writeFileSync(join(folder, "state.json"), "{}");
  const claim = await claimFolder(folder, systemRandom);
  await expect(claimFolder(folder, systemRandom)).rejects.toEqual(inUse);
  await claim.release();
  expect(readdirSync(folder)).toEqual(["state.json"]);
});

test.skipIf(process.platform !== "linux")("a folder that takes no sockets is named", async () => {
  await expect(claimFolder("/proc/self", systemRandom)).rejects.toThrow("/proc/self takes no socket");
});
