import type { Logger } from "../log.ts";
import { loggableError } from "./loggable-error.ts";

/** The part of `process` that is needed: handed in by tests. */
export interface SignalledProcess {
  on(signal: "SIGTERM" | "SIGINT", listener: () => void): unknown;
  exit(status: number): void;
}

/**
 * Closes `running` at the first SIGTERM or SIGINT and then ends the process with 0, or with 1 where closing fails. A second
 * signal ends it with 1 at once.
 */
export function runUntilSignal(
  running: { close(): Promise<void> },
  log: Logger,
  host: SignalledProcess = process,
): void {
  let isClosing = false;
  const onSignal = (): void => {
    if (isClosing) {
      host.exit(1);
      return;
    }
    isClosing = true;
    running.close().then(
      () => host.exit(0),
      (error: unknown) => {
        log.fatal({ error: loggableError(error) }, "stopping failed");
        host.exit(1);
      },
    );
  };
  host.on("SIGTERM", onSignal);
  host.on("SIGINT", onSignal);
}
