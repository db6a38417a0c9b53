import { EventEmitter } from "node:events";
import { PassThrough, Readable, Writable } from "node:stream";

import { type Clock, systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import type { Environment } from "@agentkeys/lib/settings";

import { run } from "../cli.ts";
import type { Io, Sleep } from "../io.ts";

/** What a command said, and how it ended. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Runs a command line inside this process. It sleeps for no time unless told otherwise. `keys`: what a person presses who sits at the
 * terminal; without these there is nobody, and no terminal, but what a program may write: `input`.
 */
export async function runInside(
  argv: readonly string[],
  o: {
    env: Environment;
    clock?: Clock;
    sleep?: Sleep;
    onOutput?: (text: string) => void;
    keys?: string;
    input?: Readable;
  },
): Promise<Outcome> {
  const [stdout, stderr] = [new Collected(o.onOutput), new Collected(o.onOutput)];
  if (o.keys !== undefined) stdout.isTTY = true;
  const io: Io = {
    env: o.env,
    stdin: o.keys === undefined ? (o.input ?? Readable.from([])) : keyboard(o.keys),
    ...{ stdout, stderr },
    signals: new EventEmitter(),
    clock: o.clock ?? systemClock,
    random: systemRandom,
    sleep: o.sleep ?? (() => new Promise((resolve) => setImmediate(resolve))),
    home: "/nonexistent",
    hostname: "ada's machine",
  };
  const code = await run(argv, io);
  return { code, stdout: stdout.text, stderr: stderr.text };
}

function keyboard(keys: string): Io["stdin"] {
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
  stdin.write(keys);
  return stdin;
}

class Collected extends Writable {
  text = "";
  isTTY?: boolean;
  readonly #onOutput: ((text: string) => void) | undefined;

  constructor(onOutput?: (text: string) => void) {
    super();
    this.#onOutput = onOutput;
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    this.#onOutput?.(chunk.toString());
    done();
  }
}
