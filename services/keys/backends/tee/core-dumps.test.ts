import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { createLog } from "@agentkeys/lib/log";

import { warnOfCoreDumps } from "./core-dumps.ts";

async function saidOf(limits: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-limits-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "limits"), limits);
  let said = "";
  const log = createLog("keys", { level: "info", destination: { write: (line) => void (said += line) } });
  await warnOfCoreDumps(log, join(folder, "limits"));
  return said;
}

const table = (soft: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units     
Max stack size            8388608              unlimited            bytes     
Max core file size        ${soft.padEnd(20)} unlimited            bytes     
`;

test.each(["unlimited", "1048576"])("a core of %s bytes is warned of, with what to do", async (limit) => {
  const said = await saidOf(table(limit));
  expect(said).toContain(`"core_limit":"${limit}"`);
  expect(said).toContain("LimitCORE=0");
});

test("where there is no core, or it cannot be known, nothing is said", async () => {
  expect(await saidOf(table("0"))).toBe("");
  expect(await saidOf("")).toBe("");
});
