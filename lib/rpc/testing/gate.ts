/** Something that a test lets pass when it says so, and that says when somebody waits at it. */
export interface Gate {
  /** Resolves when the first one waits. */
  reached: Promise<void>;
  open(): void;
  wait(): Promise<void>;
}

export function createGate(): Gate {
  let reach: () => void = () => undefined;
  let open: () => void = () => undefined;
  const reached = new Promise<void>((resolve) => (reach = resolve));
  const opened = new Promise<void>((resolve) => (open = resolve));
  return {
    reached,
    open: () => open(),
    wait: () => {
      reach();
      return opened;
    },
  };
}
