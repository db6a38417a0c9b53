import type { Logger } from "../log.ts";

/** Closes `running` at the first SIGTERM or SIGINT and ends the process with 0; a second signal ends it at once with 1. */
export function runUntilSignal(running: { close(): Promise<void> }, log: Logger): void {
  void running;
  void log;
}
