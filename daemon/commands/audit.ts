import type { OmniAccount } from "@agentkeys/lib/account";
import { leafHash, type TreeHead, TlogError, verifyCheckpoint, verifyInclusion } from "@agentkeys/lib/tlog";

import type { LoggedEntry } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";

import type { Access } from "../access.ts";
import { readPolicyFile } from "../attestation/policy.ts";
import { openWitness } from "../attestation/witness.ts";
import { openAccess } from "../ceremony.ts";
import { type Context, stateFolderOf } from "../context.ts";
import { answer, isoTime } from "../output.ts";
import { printable } from "../printable.ts";
import { Problem } from "../problem.ts";
import { ATTESTATION_POLICY } from "../settings.ts";
import { table } from "../table.ts";

const PAGE = 200;

/**
 * `agentkeys audit signatures`: every signature that was asked for in the account's name, the newest first, each proven to stand in the
 * log that the key service's hardware vouches for, and the log to be the continuation of what this machine saw before.
 */
export async function auditSignatures(context: Context, { limit = "50" }: { limit?: string }): Promise<void> {
  const wanted = Number(limit);
  if (!/^\d{1,6}$/.test(limit) || wanted === 0) {
    throw new Problem("USAGE", "usage", "--limit is not a number from 1 to 999999.");
  }
  const { attestationPolicy } = context.settings;
  if (attestationPolicy === undefined) {
    throw new Problem(
      "SETTINGS",
      "configuration",
      `${ATTESTATION_POLICY} is not set: it names the key that signs the log.`,
      {
        remedy:
          "Only a TEE worker keeps a log that can be verified; `agentkeys attest enroll --output FILE` writes a policy for one.",
      },
    );
  }
  const { logKey } = await readPolicyFile(attestationPolicy);
  const access = await openAccess(context);
  const entries: Entry[] = [];
  let head: TreeHead | undefined;
  const witness = openWitness(stateFolderOf(context), logKey);
  for (let pageToken = ""; entries.length < wanted;) {
    const ask = async () => {
      const page = await access.signLog.listEntries({
        omniAccount: access.enrolment.omniAccount,
        pageSize: Math.min(PAGE, wanted - entries.length),
        pageToken,
      });
      return { page, checkpoint: proven(() => verifyCheckpoint(page.checkpoint, logKey)) };
    };
    const { page, checkpoint } = await witness.agree(ask, {
      consistencyProof: (fromSize, toSize) => consistencyProof(access, fromSize, toSize),
    });
    head ??= checkpoint;
    for (const entry of page.entries)
      entries.push(readEntry(entry, checkpoint, access.enrolment.omniAccount, entries.at(-1)));
    if (page.nextPageToken === "" || page.nextPageToken === pageToken) break;
    pageToken = page.nextPageToken;
  }
  const log = head ?? { size: 0, root: new Uint8Array(32) };
  const rows = entries.map(({ index, time, operation, outcome, messageSha256, caller }) => [
    String(index),
    time.slice(0, 19).replace("T", " "),
    operation,
    outcome,
    messageSha256.slice(0, 16),
    caller.slice(0, 10),
  ]);
  answer(
    context,
    {
      verified: true,
      log: { vkey: logKey, size: log.size, root: Buffer.from(log.root).toString("hex") },
      entries: entries.map((entry) => ({
        index: entry.index,
        time: entry.time,
        operation: entry.operation,
        outcome: entry.outcome,
        message_sha256: entry.messageSha256,
        key_version: entry.keyVersion,
        caller: entry.caller,
        request_id: entry.requestId,
      })),
    },
    [
      ...table([["NO", "WHEN (UTC)", "WHAT", "OUTCOME", "MESSAGE (SHA-256)", "SESSION"], ...rows]),
      `Of this account: ${entries.length}. Each stands in the log, which has ${log.size} in all and goes on from what this machine saw before.`,
    ],
  );
}

interface Entry {
  index: number;
  time: string;
  operation: string;
  outcome: string;
  messageSha256: string;
  keyVersion: number;
  caller: string;
  requestId: string;
}

/** @throws Problem SIGN_LOG_UNPROVEN for an entry that does not stand where it is said to, or is another account's */
function readEntry(
  { index, entry, inclusionProof }: LoggedEntry,
  head: TreeHead,
  account: OmniAccount,
  previous: Entry | undefined,
): Entry {
  const at = Number(index);
  proven(() => verifyInclusion(leafHash(entry), at, head, inclusionProof));
  if (previous !== undefined && at >= previous.index) throw unproven(`entry ${at} came after ${previous.index}`);
  const fields = parse(entry);
  const text = (name: string): string => printable(String(fields[name] ?? ""));
  if (fields["omni_account"] !== account) throw unproven(`entry ${at} is not this account's`);
  return {
    index: at,
    time: timeOf(fields["t"]),
    operation: text("op"),
    outcome: text("outcome"),
    messageSha256: text("message_sha256"),
    keyVersion: Number(fields["key_version"]),
    caller: text("caller"),
    requestId: text("request_id"),
  };
}

async function consistencyProof({ signLog }: Access, fromSize: number, toSize: number): Promise<Uint8Array[]> {
  return (await signLog.getConsistencyProof({ fromSize: BigInt(fromSize), toSize: BigInt(toSize) })).hashes;
}

function proven<T>(verify: () => T): T {
  try {
    return verify();
  } catch (error) {
    if (error instanceof TlogError) throw unproven(printable(error.message), error);
    throw error;
  }
}

function unproven(why: string, cause?: unknown): Problem {
  return new Problem("SIGN_LOG_UNPROVEN", "standing", `The key service's record of signatures does not hold: ${why}.`, {
    remedy: "Ask who runs the key service; until then, its record is worth nothing.",
    cause,
  });
}

function timeOf(t: unknown): string {
  const time = new Date(typeof t === "number" ? t : NaN);
  if (Number.isNaN(time.getTime())) throw unproven("an entry has no time");
  return isoTime(time.getTime());
}

function parse(entry: Uint8Array): Partial<Record<string, string | number>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(entry).toString("utf8"));
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // Said below.
  }
  throw unproven("an entry is no record");
}
