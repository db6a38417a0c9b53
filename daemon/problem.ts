/**
 * The exit codes of every command. `exec` ends with the code of what it ran, once that has started.
 * 130 is what shells expect of a program that Ctrl-C ended: 128 + SIGINT.
 */
export const ExitCode = { ok: 0, failure: 1, usage: 2, signInNeeded: 4, configuration: 78, interrupted: 130 } as const;

/**
 * What it takes to get over a problem, which decides how the daemon goes on and what a command exits with:
 * `passing` goes away by itself, `standing` needs something to be changed elsewhere, `sign-in` needs `agentkeys init`,
 * `configuration` a setting or the state folder to be put right, `usage` another command line.
 */
export type ProblemKind = "passing" | "standing" | "sign-in" | "configuration" | "usage";

/** What a `Problem` may say beside its reason, kind and message. */
export interface ProblemDetails {
  /** What to do next, as a sentence. */
  remedy?: string;
  /** After how many milliseconds the same thing may succeed. */
  retryAfterMs?: number;
  /** What the process exits with, where it is not what the kind says. */
  exitCode?: number;
  /** What led to it; shown with AGENTKEYS_LOG_LEVEL=debug only. */
  cause?: unknown;
}

/**
 * The one error that a person meets: what is wrong (`message`, one sentence) and what to do about it (`remedy`). It carries no
 * secret and no parser's text. `reason` is for programs: a name of `ErrorReason` where a service decided it, else one of our own.
 */
export class Problem extends Error {
  override readonly name = "Problem";

  constructor(
    readonly reason: string,
    readonly kind: ProblemKind,
    message: string,
    readonly details: ProblemDetails = {},
  ) {
    super(message, { cause: details.cause });
  }

  /** The message and, where there is one, the remedy, on one line. */
  get text(): string {
    return this.details.remedy === undefined ? this.message : `${this.message} ${this.details.remedy}`;
  }

  get exitCode(): number {
    return this.details.exitCode ?? exitCodes[this.kind];
  }
}

const exitCodes: Record<ProblemKind, number> = {
  passing: ExitCode.failure,
  standing: ExitCode.failure,
  "sign-in": ExitCode.signInNeeded,
  configuration: ExitCode.configuration,
  usage: ExitCode.usage,
};

/** Reads any error as a problem; one that nobody foresaw says nothing of its insides. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem("INTERNAL", "standing", "Something went wrong inside agentkeys.", {
    remedy: "AGENTKEYS_LOG_LEVEL=debug shows where; please report it.",
    cause: error,
  });
}
