/**
 * Run as a process of its own: boots on a state file and a TPM, keeps one checkpoint, and kills itself (SIGKILL) at its step
 * number AT. `boot-and-die.ts STATE SOCKET AT`. Says "done" where it comes through.
 */
import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import { openTpm } from "@agentkeys/lib/tpm2";

import { boot, type Counters } from "../genesis.ts";
import { nvCounters } from "../nv.ts";
import { exactPcrs } from "../seal-policy.ts";
import { sealedVault } from "../sealed-vault.ts";
import type { MonotonicCounter } from "../sealer.ts";
import { createStateFile } from "../state-file.ts";
import { tpmRandom } from "../tpm-random.ts";
import { tpm2Sealer } from "../tpm2-sealer.ts";
import { systemSteps, wholeFiles } from "../whole-files.ts";
import { hooked } from "./memory-parts.ts";

const [statePath = "", socket = "", at = ""] = process.argv.slice(2);

let step = 0;
function hook(): void {
  if (step++ === Number(at)) process.kill(process.pid, "SIGKILL");
}

function watched(counter: MonotonicCounter): MonotonicCounter {
  return {
    read: () => counter.read(),
    increment: async () => {
      hook();
      const value = await counter.increment();
      hook();
      return value;
    },
  };
}

const tpm = await openTpm({ unix: socket });
const { genesis, rollback }: Counters = nvCounters(tpm);
const { state } = await boot({
  file: createStateFile(statePath, wholeFiles(hooked(systemSteps, hook))),
  vault: sealedVault({
    sealer: tpm2Sealer({ tpm, policy: exactPcrs([11]) }),
    hardwareRandom: tpmRandom(tpm),
    random: systemRandom,
  }),
  counters: { genesis: watched(genesis), rollback: watched(rollback) },
  allowGenesis: true,
  bootId: "1",
  clock: systemClock,
});
await state.advance({ size: 1n, root: "ab".repeat(32) });
await tpm.close();
process.stdout.write("done\n");
