import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import { EMPTY_ROOT, leafHash, verifyConsistency, verifyInclusion } from "@agentkeys/lib/tlog";

import { builtProgram } from "../../testing/built-program.ts";
import { type JournalFile, openLogFolder } from "../log-files.ts";
import type { MerkleSignLog } from "../merkle-log.ts";
import { openMerkleSignLog } from "../open-merkle-log.ts";
import { fileCounter } from "./counters.ts";
import { account, signer } from "./harness.ts";

/** What was found after the kills. */
export interface Survey {
  kills: number;
  /** Answers that were given before a kill. */
  answered: number;
  /** Those of them that the log does not have at their index. */
  lost: string[];
  /** Entries in the log at the end, as many as were never answered among them. */
  entries: number;
  /** How often the whole log was read, and every answer so far looked for. */
  audits: number;
}

interface Answer {
  index: number;
  requestId: string;
}

/** How often the whole log is read again, and at the end: it grows with every kill. */
const AUDIT_EVERY = 25;

/**
 * Lets a process sign and log in `folder`, kills it with SIGKILL after some answers, and looks for every answer in the log that is
 * then opened; again and again over the same log. Each time the tree is proven to go on from the one before, and every entry since
 * is proven to be in it. What was proven before is then in every later tree; now and then, and at the end, all of it is read again,
 * and every answer ever given is looked for once more.
 */
export async function killRepeatedly(folder: string, kills: number): Promise<Survey> {
  const program = builtProgram(fileURLToPath(new URL("sign-forever.ts", import.meta.url)), folder);
  const survey: Survey = { kills: 0, answered: 0, lost: [], entries: 0, audits: 0 };
  const answered: Answer[] = [];
  let earlier: { size: number; root: Uint8Array } = { size: 0, root: EMPTY_ROOT };
  for (; survey.kills < kills; survey.kills++) {
    const answers = await signUntilKilled(program, folder, `kill${survey.kills}`, randomInt(1, 60));
    answered.push(...answers);
    const { log, journal } = await openAfterKill(folder);
    verifyConsistency(earlier, log.head, await log.consistencyProof(earlier.size, log.head.size));
    survey.lost.push(...missingFrom(await provenSince(log, earlier.size), answers));
    if ((survey.kills + 1) % AUDIT_EVERY === 0 || survey.kills + 1 === kills) {
      await log.audit();
      survey.lost.push(...missingFrom(await provenSince(log, 0), answered));
      survey.audits++;
    }
    earlier = log.head;
    // Every second time the next process finds the disk as the kill left it.
    await (survey.kills % 2 === 0 ? log.close() : journal.close());
  }
  return { ...survey, answered: answered.length, entries: earlier.size, lost: [...new Set(survey.lost)] };
}

async function openAfterKill(folder: string): Promise<{ log: MerkleSignLog; journal: JournalFile }> {
  const files = await openLogFolder(join(folder, "log"));
  const journal = await files.openJournal("journal");
  const log = await openMerkleSignLog({
    files: { ...files, openJournal: () => Promise.resolve(journal) },
    counter: fileCounter(join(folder, "counter")),
    signer,
    clock: systemClock,
    random: systemRandom,
  });
  return { log, journal };
}

/** The account's entries from the size `from` on, each proven to be in the tree. */
async function provenSince(log: MerkleSignLog, from: number): Promise<Map<number, string>> {
  const { head } = log;
  const proven = new Map<number, string>();
  for (let before: number | undefined = head.size; before !== undefined && before > from;) {
    const page: Awaited<ReturnType<MerkleSignLog["entriesOf"]>> = await log.entriesOf(account, { before, limit: 100 });
    for (const { index, bytes } of page.entries) {
      if (index < from) continue;
      verifyInclusion(leafHash(bytes), index, head, await log.inclusionProof(index, head.size));
      proven.set(index, Buffer.from(bytes).toString());
    }
    before = page.next;
  }
  return proven;
}

function missingFrom(logged: ReadonlyMap<number, string>, answers: readonly Answer[]): string[] {
  return answers
    .filter(({ index, requestId }) => logged.get(index)?.includes(`"request_id":"${requestId}"`) !== true)
    .map(({ index, requestId }) => `${index} ${requestId}`);
}

/** The answers that came out of the process: those also that were on their way when it was killed. */
async function signUntilKilled(program: string, folder: string, id: string, after: number): Promise<Answer[]> {
  const child = spawn(process.execPath, [program, folder, id], { stdio: ["ignore", "pipe", "inherit"] });
  const answers: Answer[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [index = "", requestId = ""] = line.split(" ");
    answers.push({ index: Number(index), requestId });
    if (answers.length === after) child.kill("SIGKILL");
  }
  if (answers.length < after) throw new Error("the process that signs ended by itself");
  return answers;
}
