import { EventEmitter } from "node:events";
import { Readable, Writable } from "node:stream";

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

/** Runs a command line inside this process. It sleeps for no time unless told otherwise. */
export async function runInside(
  argv: readonly string[],
  o: { env: Environment; clock?: Clock; sleep?: Sleep; onOutput?: (text: string) => void },
): Promise<Outcome> {
  const [stdout, stderr] = [new Collected(o.onOutput), new Collected(o.onOutput)];
  const io: Io = {
    env: o.env,
    stdin: Readable.from([]),
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

class Collected extends Writable {
  text = "";
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
