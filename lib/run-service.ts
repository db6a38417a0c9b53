import type { Logger } from "./log.ts";
import { loggableError } from "./rpc/loggable-error.ts";
import { runUntilSignal, type SignalledProcess } from "./rpc/run-until-signal.ts";
import { EX_CONFIG, SettingsError } from "./settings/index.ts";

/** A service as a process. */
export interface Service {
  /** What `--help` prints. */
  help: string;
  /** What the log says where it does not come up, for example "the broker cannot start". */
  cannotStart: string;
  /** Reads the settings and the command line. @throws SettingsError */
  open(argv: readonly string[]): { log: Logger; start(): Promise<{ close(): Promise<void> }> };
  /** Errors of `start` that say all there is to say, with an exit status of their own. */
  refusal?(error: unknown): { status: number; fields: Record<string, unknown>; message: string } | undefined;
}

/** The part of `process` that is needed: handed in by tests. */
export interface ServiceHost extends SignalledProcess {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown };
}

/**
 * Starts the service and runs it until a signal. Ends the process with 0 after `--help`, with `EX_CONFIG` and a line for each mistake where
 * a setting is wrong, with the refusal's own status, and with 1 where it cannot start for another reason.
 */
export async function runService(service: Service, argv: readonly string[], host: ServiceHost): Promise<void> {
  if (argv.includes("--help") || argv.includes("-h")) {
    host.stdout.write(service.help);
    host.exit(0);
    return;
  }
  let log: Logger | undefined;
  try {
    const opened = service.open(argv);
    log = opened.log;
    runUntilSignal(await opened.start(), log, host);
  } catch (error) {
    if (error instanceof SettingsError) {
      host.stderr.write(`${error.message}\n`);
      host.exit(EX_CONFIG);
      return;
    }
    if (log === undefined) throw error;
    const refusal = service.refusal?.(error);
    log.fatal(refusal?.fields ?? { error: loggableError(error) }, refusal?.message ?? service.cannotStart);
    host.exit(refusal?.status ?? 1);
  }
}

/** For services without flags. @throws SettingsError */
export function noFlags(argv: readonly string[]): void {
  if (argv.length > 0) {
    throw new SettingsError([
      `${argv.join(" ")} is not understood: everything is set by environment variables, which --help lists`,
    ]);
  }
}
