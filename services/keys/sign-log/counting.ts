import { Counter, type Registry } from "@agentkeys/lib/metrics";

import type { SignLog } from "./sign-log.ts";

/** Counts what is recorded, by its outcome. */
export function createCountingLog(log: SignLog, registry: Registry): SignLog {
  const signatures = new Counter({
    name: "agentkeys_signatures_total",
    help: "Requests for a signature, by their outcome: signed, or why not.",
    labelNames: ["outcome"],
    registers: [registry],
  });
  return {
    append: async (record) => {
      const position = await log.append(record);
      signatures.inc({ outcome: record.outcome });
      return position;
    },
    close: () => log.close(),
  };
}
