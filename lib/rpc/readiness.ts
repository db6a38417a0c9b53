/** What the process depends on, by name. It is ready when every check passes; each look probes afresh. */
export class Readiness {
  readonly #checks = new Map<string, () => Promise<void>>();

  /** Declares a dependency, or replaces its check. A check resolves when the dependency can be used and rejects otherwise. */
  set(name: string, check: () => Promise<void>): void {
    this.#checks.set(name, check);
  }
}
