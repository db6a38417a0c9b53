import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Logger } from "@agentkeys/lib/log";

/** Runs `work`; what goes wrong with the store itself becomes a `Failure` STORE_UNAVAILABLE, everything else stays as it is. */
export type StoreGuard = <T>(work: () => Promise<T>) => Promise<T>;

/** `onFailure` is told of each that went wrong with the store. */
export function createStoreGuard(log: Logger, onFailure: () => void = () => undefined): StoreGuard {
  return async (work) => {
    try {
      return await work();
    } catch (error) {
      if (!isOutage(error)) throw error;
      onFailure();
      log.error({ err: { code: error.code, message: error.message } }, "the store failed");
      throw new Failure(
        ErrorReason.STORE_UNAVAILABLE,
        "the broker's store cannot be used right now; try again shortly",
        {
          retryAfterMs: 2_000,
          cause: error,
        },
      );
    }
  };
}

/**
 * Result codes (https://sqlite.org/rescode.html) that say "not now": the disk, the lock or the file is at fault. A broken
 * constraint or a wrong statement is a fault of ours, and trying again would not help.
 */
const outages = /^SQLITE_(BUSY|CANTOPEN|CORRUPT|FULL|IOERR|LOCKED|NOMEM|NOTADB|PERM|PROTOCOL|READONLY)/;

function isOutage(error: unknown): error is Error & { code: string } {
  return error instanceof Error && "code" in error && typeof error.code === "string" && outages.test(error.code);
}
