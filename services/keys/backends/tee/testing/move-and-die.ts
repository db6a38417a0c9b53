/**
 * Run as a process of its own: opens what FOLDER/old.pem seals, seals it for FOLDER/next.pem, retires the releases before security version 3,
 * and kills itself (SIGKILL) at its step number AT: before and after whatever writes to the TPM, and between the steps of a file's
 * replacement. `move-and-die.ts STATE SOCKET AT FOLDER`. Says "done" where it comes through.
 */
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { systemClock } from "@agentkeys/lib/clock";
import { parseApprovals, tpmOver } from "@agentkeys/lib/tpm2";
import { commandCode } from "@agentkeys/lib/tpm2/constants";
import { openTransport } from "@agentkeys/lib/tpm2/transport";

import { boot } from "../genesis.ts";
import { nvCounters } from "../nv.ts";
import { releaseFloor } from "../release-floor.ts";
import { releaseKey } from "../seal-policy.ts";
import { createStateFile } from "../state-file.ts";
import { systemSteps, wholeFiles } from "../whole-files.ts";
import { hooked } from "./memory-parts.ts";
import { movingOn } from "./tpm-machine.ts";

const [statePath = "", socket = "", at = "", folder = ""] = process.argv.slice(2);
const WRITING: readonly number[] = [commandCode.nvDefineSpace, commandCode.nvIncrement];

let step = 0;
function hook(): void {
  if (step++ === Number(at)) process.kill(process.pid, "SIGKILL");
}

const transport = await openTransport({ unix: socket });
const tpm = tpmOver({
  close: () => transport.close(),
  transmit: async (command) => {
    const writes = WRITING.includes(Buffer.from(command).readUInt32BE(6));
    if (writes) hook();
    const answer = await transport.transmit(command);
    if (writes) hook();
    return answer;
  },
});
const approvals = parseApprovals(readFileSync(join(folder, "approvals.json"), "utf8"));
const [from, to] = ["old.pem", "next.pem"].map((name) =>
  releaseKey(createPublicKey(readFileSync(join(folder, name))), approvals),
);
if (from === undefined || to === undefined) throw new Error("two keys");
const { blob } = await boot({
  file: createStateFile(statePath, wholeFiles(hooked(systemSteps, hook))),
  ...movingOn(tpm, from, to),
  counters: nvCounters(tpm),
  allowGenesis: false,
  bootId: "1",
  clock: systemClock,
});
await releaseFloor({ tpm, policy: to }).retireBefore(blob, 3);
await tpm.close();
process.stdout.write("done\n");
