import type { OmniAccount } from "@agentkeys/lib/account";

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

/** A log that proves what it says. Sizes and indices are whole numbers below 2^53. */
export interface ProvableLog {
  /** The newest checkpoint that is durable, as a signed note, and the size that it names. */
  readonly head: { readonly checkpoint: string; readonly size: number };
  /** @throws Failure LOG_POSITION_UNKNOWN, SIGN_LOG_UNAVAILABLE */
  inclusionProof(index: number, size: number): Promise<Uint8Array[]>;
  /** @throws Failure LOG_POSITION_UNKNOWN, SIGN_LOG_UNAVAILABLE */
  consistencyProof(fromSize: number, toSize: number): Promise<Uint8Array[]>;
  /**
   * The account's entries below the index `before`, the newest first, at most `limit`. `next` says where to go on; it is
   * absent where there is nothing further back. A page may be short, even empty, and still have a next one.
   */
  entriesOf(
    omniAccount: OmniAccount,
    page: { before: number; limit: number },
  ): Promise<{ entries: { index: number; bytes: Uint8Array }[]; next?: number }>;
}
