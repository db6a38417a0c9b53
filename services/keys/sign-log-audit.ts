import type { Logger } from "@agentkeys/lib/log";

import { type MerkleSignLog, SignLogError } from "./sign-log/index.ts";

/**
 * Reads the whole log beside everything else, and tells what came of it. A log that is not what was written takes no more entries by itself:
 * nothing more is signed, and readiness says so. Never rejects; ends early when the log is closed.
 */
export async function auditInBackground(signLog: Pick<MerkleSignLog, "audit">, log: Logger): Promise<void> {
  try {
    log.info(await signLog.audit(), "sign log audited");
  } catch (error) {
    const reason = error instanceof SignLogError ? `SIGN_LOG_${error.code}` : "SIGN_LOG_UNREADABLE";
    log.fatal(
      { reason, err: error },
      "the sign log is not what was written, or cannot be read: nothing more is signed",
    );
  }
}
