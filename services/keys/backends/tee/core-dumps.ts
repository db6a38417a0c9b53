import { readFile } from "node:fs/promises";

import type { Logger } from "@agentkeys/lib/log";

/**
 * Says so where a crash of this process would leave its memory, and with it the root key, in a file (core(5)): the measured image sees to
 * it that there is none, and whoever runs the worker otherwise has to. A process cannot lower the limit for itself without a system call
 * that Node does not have.
 */
export async function warnOfCoreDumps(log: Logger, limits = "/proc/self/limits"): Promise<void> {
  const text = await readFile(limits, "utf8").catch(() => "");
  const [, limit] = /^Max core file size +(\S+)/m.exec(text) ?? [];
  if (limit === undefined || limit === "0") return;
  log.warn(
    { core_limit: limit },
    "a crash of this process may write its memory, and the master secret in it, to a file: start it with LimitCORE=0 (systemd) or ulimit -c 0",
  );
}
