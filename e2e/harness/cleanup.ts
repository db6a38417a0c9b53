import { createUndoStack, type UndoStack } from "./undo-stack.ts";

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

export interface Cleanup extends UndoStack {
  /** Whether the process was told to end: then nothing else should end it, nor complain that things are gone. */
  isEnding(): boolean;
}

/**
 * An undo stack that is also run when the process is told to end, which then ends with the status that shells expect (128 + the
 * signal's number). A second signal does not wait: then, as at any other end, what is left is killed.
 */
export function createCleanup(process: NodeJS.Process): Cleanup {
  const stack = createUndoStack();
  let ending = false;
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      const end = (): never => process.exit(128 + number);
      if (ending) end();
      ending = true;
      void stack.run().then(end, end);
    });
  }
  process.on("exit", () => stack.kill());
  return { ...stack, isEnding: () => ending };
}
