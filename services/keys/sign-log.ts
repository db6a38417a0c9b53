import { createHash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";

import type { OmniAccount } from "@agentkeys/lib/account";
import type { Clock } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

/** One request for a signature, as it is recorded. Never the message, never a secret. */
export interface SignRecord {
  omniAccount: OmniAccount;
  message: Uint8Array;
  keyVersion: number;
  /** Who asked: a session id, or "loopback" where no sessions are known. */
  caller: string;
  /** "signed", or the ErrorReason for which it was refused. */
  outcome: string;
  requestId: string;
}

export interface SignLog {
  /** Writes the record before the signature leaves. @throws Failure SIGN_LOG_UNAVAILABLE: then nothing may be signed. */
  append(record: SignRecord): void;
  close(): void;
}

/** One JSON object per line, appended to the file at `path` (made with mode 0600), or to standard output. */
export function createSignLog({ path, clock }: { path?: string; clock: Clock }): SignLog {
  const descriptor = path === undefined ? 1 : openSync(path, "a", 0o600);
  return {
    append: (record) => {
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
    },
    close: () => {
      if (path !== undefined) closeSync(descriptor);
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
