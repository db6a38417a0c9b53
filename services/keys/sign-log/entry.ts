import { createHash } from "node:crypto";

import type { OmniAccount } from "@agentkeys/lib/account";
import { type RandomBytes, randomId } from "@agentkeys/lib/random";

import type { SignRecord } from "./sign-log.ts";

/** What every entry of the log says, whatever it is about. */
export interface EntryPlace {
  /** Its number in the log, from 0. */
  seq: number;
  /** Epoch milliseconds. */
  time: number;
  /** The counter's value once the entry is durable: the tree, and so the checkpoint's signature, covers it. */
  counter: bigint;
  random: RandomBytes;
}

/** What the log itself has to tell. */
export type LogEvent =
  /** The first entry: a log was begun, where none may have been before. */
  | { op: "begin" }
  /** It was closed in good order; after it the counter covers every entry. */
  | { op: "close" }
  /** An operator let a log go on that is not the one that the counter knew. */
  | { op: "accept-rollback"; found: bigint; expected: bigint }
  /** A share of another worker's master secret is about to be given to a machine that a recovery ticket names. */
  | { op: "give-out-share"; backup: string; index: number; machine: string; ticket_iat: number; ticket_exp: number };

/** The entry of a request for a signature: canonical JSON (RFC 8785), with the message's hash alone. */
export function encodeSignEntry(record: SignRecord, place: EntryPlace): Uint8Array {
  return encode(place, {
    op: "sign",
    omni_account: record.omniAccount,
    message_sha256: createHash("sha256").update(record.message).digest("hex"),
    key_version: record.keyVersion,
    caller: record.caller,
    outcome: record.outcome,
    request_id: record.requestId,
  });
}

export function encodeLogEvent(event: LogEvent, place: EntryPlace): Uint8Array {
  if (event.op !== "accept-rollback") return encode(place, { ...event });
  return encode(place, { op: event.op, found: String(event.found), expected: String(event.expected) });
}

/** The counter that an entry names. @throws Error when this is no entry of ours. */
export function counterOf(entry: Uint8Array): bigint {
  const { counter } = JSON.parse(Buffer.from(entry).toString()) as { counter?: unknown };
  if (typeof counter !== "string" || !/^(0|[1-9][0-9]{0,19})$/.test(counter))
    throw new Error("an entry without counter");
  return BigInt(counter);
}

/** Whose entry it is; undefined for what the log itself has to tell. The entry is one of ours. */
export function accountOf(entry: Uint8Array): OmniAccount | undefined {
  const bytes = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength);
  const { omni_account } = JSON.parse(bytes.toString()) as { omni_account?: OmniAccount };
  return omni_account;
}

/** Whether an entry is one of this account, and the one that stands at `seq`. */
export function isEntryOf(entry: Uint8Array, omniAccount: string, seq: number): boolean {
  const bytes = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength);
  // Most are others': the text is looked for before anything is parsed.
  if (!bytes.includes(omniAccount)) return false;
  const read = JSON.parse(bytes.toString()) as { omni_account?: unknown; seq?: unknown };
  return read.omni_account === omniAccount && read.seq === seq;
}

function encode({ seq, time, counter, random }: EntryPlace, facts: Record<string, string | number>): Uint8Array {
  const entry: Record<string, string | number> = {
    ...facts,
    v: 1,
    seq,
    t: time,
    // 64 bits, which JSON's numbers do not hold.
    counter: String(counter),
    // Without it, who sees a leaf's hash could try out what the entry may be.
    salt: randomId(random),
  };
  // RFC 8785 is JSON.stringify with sorted names, for values as plain as these.
  return Buffer.from(JSON.stringify(Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))));
}
