import { constants, fstatSync, openSync, writeSync } from "node:fs";

/** Where a log's lines go. */
export interface LogOutput {
  write(line: string): void;
}

/** How much is kept for a reader that is slow, in bytes. */
const BACKLOG = 1 << 20;
/** How often it is tried again while nothing else is logged. */
const RETRY_MS = 100;

/**
 * Standard output, for a log that keeps nobody waiting: a reader that stops reading must not stop the service, nor keep it from ending.
 * What a slow reader has no room for waits in memory, up to a megabyte; lines beyond that are lost, and how many is said once there is
 * room. When the reader is gone, nothing is written any more.
 */
export function standardOutput(): LogOutput {
  return (theOne ??= openStandardOutput());
}

/** A process has one, however many logs write to it: lines of two must not be mixed. */
let theOne: LogOutput | undefined;

function openStandardOutput(): LogOutput {
  const descriptor = descriptorThatNeverBlocks();
  const output = createLogOutput((bytes) => writeSync(descriptor, bytes));
  process.on("exit", output.flush);
  return output;
}

/**
 * Whether writes block belongs to what was opened, which other processes may share (and Node makes it block again for each that it
 * starts): so a pipe is opened once more, for this log alone, where the system allows it (Linux).
 */
function descriptorThatNeverBlocks(): number {
  // The next best: Node makes a pipe or a socket one that does not block when its stream is asked for.
  process.stdout.on("error", () => undefined);
  try {
    if (fstatSync(1).isFIFO()) return openSync("/proc/self/fd/1", constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    // Another system, another user's pipe, or no reader left.
  }
  return 1;
}

/** `write` takes some of the bytes and says how many, or throws what the system calls an error: EAGAIN is "later", all others "never". */
export function createLogOutput(write: (bytes: Uint8Array) => number): LogOutput & { readonly flush: () => void } {
  let waiting: Buffer[] = [];
  let size = 0;
  let lost = 0;
  let isGone = false;
  let timer: NodeJS.Timeout | undefined;

  const keep = (line: string): void => {
    const bytes = Buffer.from(line);
    waiting.push(bytes);
    size += bytes.length;
  };
  const flush = (): void => {
    try {
      for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
        const taken = write(first);
        size -= taken;
        if (taken < first.length) waiting[0] = first.subarray(taken);
        else waiting.shift();
        if (waiting.length > 0 || lost === 0) continue;
        keep(`{"level":"warn","msg":"log lines were lost, since nobody read them","lines":${lost}}\n`);
        lost = 0;
      }
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") {
        timer ??= setTimeout(tryAgain, RETRY_MS).unref();
        return;
      }
      isGone = true;
      waiting = [];
    }
  };
  const tryAgain = (): void => {
    timer = undefined;
    flush();
  };

  return {
    flush,
    write: (line) => {
      if (isGone) return;
      if (size + line.length > BACKLOG) lost++;
      else keep(line);
      flush();
    },
  };
}
