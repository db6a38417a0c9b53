/** What must be undone when it is over, however it ends; last made, first undone. */
export interface Cleanup {
  /** `kill` is what `undo` must do at the least when there is no time: synchronous. */
  add(undo: () => Promise<void> | void, kill?: () => void): void;
  /** Undoes everything; goes on when one thing fails, and throws the first failure at the end. Safe to call twice. */
  run(): Promise<void>;
}

/**
 * Also undoes on SIGINT, SIGTERM and SIGHUP, then ends the process with the status that shells expect (128 + the signal's number);
 * a second signal does not wait.
 */
export function createCleanup(process: NodeJS.Process): Cleanup {
  const undos: { undo: () => Promise<void> | void; kill: () => void }[] = [];

  const run = async (): Promise<void> => {
    let failure: unknown;
    for (let next = undos.pop(); next !== undefined; next = undos.pop()) {
      try {
        await next.undo();
      } catch (error) {
        failure ??= error;
        next.kill();
      }
    }
    // Whatever was undone with may have failed with anything; it is passed on as it is.
    if (failure !== undefined) throw failure as Error;
  };

  let signalled = false;
  for (const [signal, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
    ["SIGHUP", 1],
  ] as const) {
    process.on(signal, () => {
      const end = (): never => process.exit(128 + number);
      if (signalled) end();
      signalled = true;
      void run().then(end, end);
    });
  }
  // The last chance: nothing asynchronous runs any more.
  process.on("exit", () => undos.reverse().forEach(({ kill }) => kill()));
  return { add: (undo, kill = () => undefined) => void undos.push({ undo, kill }), run };
}
