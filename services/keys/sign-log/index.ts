/** The record of every signature that was asked for: who, what (its hash), when, and what came of it. */
import type { OmniAccount } from "@agentkeys/lib/account";

export { createJsonLinesLog } from "./json-lines.ts";

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
  /**
   * Writes the record before the signature leaves, and resolves when it would survive what the log promises to survive.
   * @returns where it stands, in a log that numbers its entries.
   * @throws Failure SIGN_LOG_UNAVAILABLE: then nothing may be signed.
   */
  append(record: SignRecord): Promise<{ index: bigint } | undefined>;
  /** Waits for what is under way. Nothing can be appended afterwards. */
  close(): Promise<void>;
}
