import type { Readable, Writable } from "node:stream";

import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";
import type { Environment } from "@agentkeys/lib/settings";

/** Everything of the process and the machine that a command touches, so that a test can run one inside itself. */
export interface Io {
  env: Environment;
  stdin: Readable & { isTTY?: boolean };
  stdout: Writable & { isTTY?: boolean };
  stderr: Writable;
  /** Where SIGINT, SIGTERM and the like arrive; `process` is one. */
  signals: SignalSource;
  clock: Clock;
  random: RandomBytes;
  sleep: Sleep;
  /** The person's home folder. */
  home: string;
  /** What this machine calls itself. */
  hostname: string;
}

export interface SignalSource {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
}

/** Resolves after `ms` milliseconds, or at once when the signal aborts; never rejects. */
export type Sleep = (ms: number, signal?: AbortSignal) => Promise<void>;

export const systemSleep: Sleep = (ms, signal) =>
  new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
