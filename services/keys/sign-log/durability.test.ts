import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { killRepeatedly } from "./testing/kills.ts";

test("every answered signature is in the log after SIGKILL at any moment, 20 times over the same log", async () => {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-kills-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const { kills, answered, lost, entries, audits } = await killRepeatedly(folder, 20);
  expect([kills, audits]).toEqual([20, 1]);
  expect(answered).toBeGreaterThanOrEqual(20);
  expect(lost).toEqual([]);
  expect(entries).toBeGreaterThan(answered);
}, 120_000);
