import { createHash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";

import type { Clock } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import type { SignLog, SignRecord } from "./sign-log.ts";

/** One JSON object per line, appended to the file at `path` (made with mode 0600), or to standard output. */
export function createJsonLinesLog({ path, clock }: { path?: string; clock: Clock }): SignLog {
  const descriptor = path === undefined ? 1 : openSync(path, "a", 0o600);

  const append = (record: SignRecord): void => {
    try {
      // Synchronous on purpose: the record is with the kernel before the signature is with the caller.
      writeWhole(descriptor, Buffer.from(lineOf(record, clock()) + "\n"));
    } catch (error) {
      throw new Failure(
        ErrorReason.SIGN_LOG_UNAVAILABLE,
        "the record of signatures cannot be written, so nothing is signed: its disk may be full",
        { retryAfterMs: 5_000, cause: error },
      );
    }
  };

  return {
    append: (record) =>
      new Promise((resolve) => {
        append(record);
        resolve(undefined);
      }),
    close: () => {
      if (path !== undefined) closeSync(descriptor);
      return Promise.resolve();
    },
  };
}

function lineOf(record: SignRecord, now: number): string {
  return JSON.stringify({
    time: new Date(now).toISOString(),
    event: "sign",
    omni_account: record.omniAccount,
    message_sha256: createHash("sha256").update(record.message).digest("hex"),
    key_version: record.keyVersion,
    caller: record.caller,
    outcome: record.outcome,
    request_id: record.requestId,
  });
}

/** A pipe may take less than a whole line at a time, or nothing for a moment. */
function writeWhole(descriptor: number, line: Buffer): void {
  let written = 0;
  for (let attempts = 0; written < line.length; attempts++) {
    try {
      written += writeSync(descriptor, line, written);
    } catch (error) {
      const busy = error instanceof Error && "code" in error && error.code === "EAGAIN";
      if (!busy || attempts > 1000) throw error;
    }
  }
}
