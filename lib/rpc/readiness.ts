import { ErrorReason, Failure } from "../failure.ts";

/** How one dependency is. */
export interface DependencyState {
  ready: boolean;
  /** Why not, where its check failed with a `Failure`: its reason's name and its message. */
  reason?: string;
  message?: string;
  /** What its check failed with: for the log, never for outsiders. */
  error?: unknown;
}

/** How all of them are, by name. */
export interface ReadinessState {
  ready: boolean;
  dependencies: Record<string, DependencyState>;
}

/** What the process depends on, by name. It is ready when every check passes that is not optional; each look probes afresh. */
export class Readiness {
  readonly #checks = new Map<string, () => Promise<void>>();
  readonly #optional = new Set<string>();
  readonly #timeoutMs: number;
  #current: Promise<ReadinessState> | undefined;

  /** A check that takes longer than `timeoutMs` (default 2 s) counts as failed. */
  constructor(options: { timeoutMs?: number } = {}) {
    this.#timeoutMs = options.timeoutMs ?? 2000;
  }

  /**
   * Declares a dependency, or replaces its check. A check resolves when the dependency can be used and rejects otherwise. One that is
   * optional is named when it fails, and the process is ready all the same.
   */
  set(name: string, check: () => Promise<void>, { optional = false }: { optional?: boolean } = {}): void {
    this.#checks.set(name, check);
    if (optional) this.#optional.add(name);
    else this.#optional.delete(name);
  }

  /** Probes every dependency now; looks that overlap share one round of probes. Never rejects. */
  async look(): Promise<ReadinessState> {
    this.#current ??= this.#probeAll().finally(() => (this.#current = undefined));
    return await this.#current;
  }

  async #probeAll(): Promise<ReadinessState> {
    const entries = [...this.#checks].map(async ([name, check]) => [name, await this.#probe(check)] as const);
    const dependencies = Object.fromEntries(await Promise.all(entries));
    return {
      ready: Object.entries(dependencies).every(([name, { ready }]) => ready || this.#optional.has(name)),
      dependencies,
    };
  }

  async #probe(check: () => Promise<void>): Promise<DependencyState> {
    let timer: NodeJS.Timeout | undefined;
    const tooSlow = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error("The check took too long.")), this.#timeoutMs);
    });
    try {
      // In an async function a check that throws at once fails as one that rejects.
      await Promise.race([(async () => await check())(), tooSlow]);
      return { ready: true };
    } catch (error) {
      if (!(error instanceof Failure)) return { ready: false, error };
      return { ready: false, reason: ErrorReason[error.reason], message: error.message, error };
    } finally {
      clearTimeout(timer);
    }
  }
}
