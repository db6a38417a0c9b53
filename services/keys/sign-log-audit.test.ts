import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import { ErrorReason } from "@agentkeys/lib/failure";
import { createLog } from "@agentkeys/lib/log";

import { auditInBackground } from "./sign-log-audit.ts";
import { freshLog, recordOf } from "./sign-log/testing/harness.ts";

/** A settled log of a bundle and more, opened again after its first bundle was changed. */
async function openedAgain(change: (entries: string) => string) {
  const made = await freshLog({ settleEvery: 300 });
  onTestFinished(made.remove);
  await Promise.all(Array.from({ length: 300 }, (_, i) => made.log.append(recordOf(i))));
  await made.log.close();
  const bundle = join(made.folder, "tile/entries/000");
  writeFileSync(bundle, change(readFileSync(bundle, "latin1")), "latin1");
  const lines: string[] = [];
  const log = createLog("keys", { level: "info", destination: { write: (line) => void lines.push(line) } });
  return { signLog: await made.reopen(), log, text: () => lines.join("") };
}

test("a log that is what was written is said to be that", async () => {
  const { signLog, log, text } = await openedAgain((entries) => entries);
  await auditInBackground(signLog, log);
  expect(text()).toContain('"entries":301,"msg":"sign log audited"');
  await expect(signLog.ready()).resolves.toBeUndefined();
});

test("damage stops the signing, turns readiness red, and has its reason in the log lines", async () => {
  const { signLog, log, text } = await openedAgain((entries) => entries.replace("request-7", "request-8"));
  await expect(signLog.ready()).resolves.toBeUndefined();
  await auditInBackground(signLog, log);
  expect(text()).toContain('"reason":"SIGN_LOG_DAMAGED"');
  expect(text()).toContain("nothing more is signed");
  await expect(signLog.ready()).rejects.toThrow("takes no more entries");
  await expect(signLog.append(recordOf(1))).rejects.toMatchObject({ reason: ErrorReason.SIGN_LOG_UNAVAILABLE });
});

test("ends where the log is closed, and finds no fault with that", async () => {
  const { signLog, log, text } = await openedAgain((entries) => entries);
  const audited = auditInBackground(signLog, log);
  await signLog.close();
  await audited;
  expect(text()).not.toContain("reason");
});
