export type Undo = () => Promise<void> | void;

/** What must be undone when it is over, however it ends; last made, first undone. */
export interface UndoStack {
  /** `kill` is what `undo` must do at the least when there is no time: synchronous. */
  add(undo: Undo, kill?: () => unknown): void;
  /**
   * Undoes everything; goes on when one thing fails, and throws at the end. Called again meanwhile, it waits for the same end.
   */
  run(): Promise<void>;
  /** Kills what is left. */
  kill(): void;
}

export function createUndoStack(): UndoStack {
  const undos: { undo: Undo; kill: () => unknown }[] = [];
  let running: Promise<void> | undefined;

  const undoAll = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (let next = undos.pop(); next !== undefined; next = undos.pop()) {
      try {
        await next.undo();
      } catch (error) {
        failures.push(error);
        next.kill();
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, `Cleaning up failed: ${String(failures[0])}`);
  };

  return {
    add: (undo, kill = () => undefined) => void undos.push({ undo, kill }),
    run: () => (running ??= undoAll().finally(() => (running = undefined))),
    kill() {
      for (let next = undos.pop(); next !== undefined; next = undos.pop()) next.kill();
    },
  };
}
