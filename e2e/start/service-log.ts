import { createWriteStream, type WriteStream } from "node:fs";

import { createLog, type Logger } from "@agentkeys/lib/log";

/** Logs of several services in one file. */
export interface ServiceLog {
  of(service: string): Logger;
  close(): Promise<void>;
}

/**
 * Writes every line to `file`, for its owner alone, and to `terminal` what a person should see there: warnings and errors, the mails
 * of the development mailbox among them, and where a service listens.
 */
export function openServiceLog(file: string, terminal: { write(text: string): unknown }): ServiceLog {
  const stream: WriteStream = createWriteStream(file, { flags: "a", mode: 0o600 });
  const write = (line: string): void => {
    stream.write(line);
    if (!/"level":"(?:info|debug|trace)"/.test(line) || line.includes('"msg":"listening"')) terminal.write(line);
  };
  return {
    of: (service) => createLog(service, { destination: { write } }),
    close: () => new Promise((resolve) => stream.end(resolve)),
  };
}
