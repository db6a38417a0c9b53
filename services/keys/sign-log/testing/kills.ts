import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { buildSync } from "esbuild";

import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";

import { type JournalFile, openLogFolder } from "../log-files.ts";
import { openMerkleSignLog } from "../open-merkle-log.ts";
import { fileCounter } from "./counters.ts";
import { checkLog, entriesIn, signer } from "./harness.ts";

/** What was found after the kills. */
export interface Survey {
  kills: number;
  /** Answers that were given before a kill. */
  answered: number;
  /** Those of them that the log does not have at their index. */
  lost: string[];
  /** Entries in the log at the end, as many as were never answered among them. */
  entries: number;
}

/**
 * Lets a process sign and log in `folder`, kills it with SIGKILL after some answers, and looks for every answer in the log that is
 * then opened; again and again over the same log. The whole tree is checked each time, and that it goes on from the one before.
 */
export async function killRepeatedly(folder: string, kills: number): Promise<Survey> {
  const program = join(folder, "sign-forever.mjs");
  buildSync({
    entryPoints: [fileURLToPath(new URL("sign-forever.ts", import.meta.url))],
    outfile: program,
    bundle: true,
    platform: "node",
    format: "esm",
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
  });
  const survey: Survey = { kills: 0, answered: 0, lost: [], entries: 0 };
  let earlier: { size: number; root: Uint8Array } | undefined;
  for (; survey.kills < kills; survey.kills++) {
    const answers = await signUntilKilled(program, folder, `kill${survey.kills}`, randomInt(1, 60));
    const files = await openLogFolder(join(folder, "log"));
    let journal: JournalFile | undefined;
    const openJournal = async (path: string): Promise<JournalFile> => (journal = await files.openJournal(path));
    const log = await openMerkleSignLog({
      files: { ...files, openJournal },
      counter: fileCounter(join(folder, "counter")),
      signer,
      clock: systemClock,
      random: systemRandom,
    });
    await log.audit();
    await checkLog(log, earlier);
    const logged = new Map((await entriesIn(log)).map(({ index, bytes }) => [index, Buffer.from(bytes).toString()]));
    for (const { index, requestId } of answers) {
      if (logged.get(index)?.includes(`"request_id":"${requestId}"`) !== true)
        survey.lost.push(`${index} ${requestId}`);
    }
    survey.answered += answers.length;
    survey.entries = log.head.size;
    earlier = log.head;
    // Every second time the next process finds the disk as the kill left it.
    await (survey.kills % 2 === 0 ? log.close() : journal?.close());
  }
  return survey;
}

/** The answers that came out of the process: those also that were on their way when it was killed. */
async function signUntilKilled(
  program: string,
  folder: string,
  id: string,
  after: number,
): Promise<{ index: number; requestId: string }[]> {
  const child = spawn(process.execPath, [program, folder, id], { stdio: ["ignore", "pipe", "inherit"] });
  const answers: { index: number; requestId: string }[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const [index = "", requestId = ""] = line.split(" ");
    answers.push({ index: Number(index), requestId });
    if (answers.length === after) child.kill("SIGKILL");
  }
  if (answers.length < after) throw new Error("the process that signs ended by itself");
  return answers;
}
