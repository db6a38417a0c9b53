/**
 * A process that signs and logs until it is killed: `node sign-forever.js <folder> <id>`. Each answer that a caller would have got
 * is a line on standard output: the entry's index and the request's id.
 */
import { writeSync } from "node:fs";
import { join } from "node:path";

import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";

import { createSigningEngine } from "../../signing.ts";
import { openLogFolder } from "../log-files.ts";
import { openMerkleSignLog } from "../open-merkle-log.ts";
import { fileCounter } from "./counters.ts";
import { account, recordOf, signer } from "./harness.ts";

const CALLERS = 8;
const [, , root = "", id = ""] = process.argv;

const log = await openMerkleSignLog({
  files: await openLogFolder(join(root, "log")),
  signer,
  counter: fileCounter(join(root, "counter")),
  clock: systemClock,
  random: systemRandom,
  begin: true,
  // Often, so that kills come in the middle of it as well.
  settleEvery: 40,
});
const engine = createSigningEngine(Buffer.alloc(32, 3));

async function signForever(caller: number): Promise<void> {
  for (let n = 0; ; n++) {
    const record = { ...recordOf(n), requestId: `${id}-${caller}-${n}` };
    await engine.sign(account, record.message);
    const { index } = await log.append(record);
    writeSync(1, `${index} ${record.requestId}\n`);
  }
}

await Promise.all(Array.from({ length: CALLERS }, (_, caller) => signForever(caller)));
