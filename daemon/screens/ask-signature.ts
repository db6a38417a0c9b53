import { createInterface, type Interface } from "node:readline";

import { isCancel, text } from "@clack/prompts";

import type { Context } from "../context.ts";
import { duration, isoTime } from "../output.ts";
import type { ToSign } from "../pasted-signature.ts";
import { ExitCode, Problem } from "../problem.ts";

/** Shows a text to sign and reads the signature: typed at a terminal, else the next line of the standard input. */
export async function askSignature(
  { io, json }: Pick<Context, "io" | "json">,
  { address, message, code, expiresAt, problem }: ToSign,
): Promise<string | undefined> {
  const { stdin, stdout, clock } = io;
  if (json) {
    const fields = { address, message, user_code: code, expires_at: isoTime(expiresAt), ...(problem && { problem }) };
    stdout.write(JSON.stringify({ event: "sign_message", ...fields }) + "\n");
    return nextLine(stdin);
  }
  const lines =
    problem === undefined ? instructions({ address, message }) : [problem, "The text is still the one above."];
  for (const line of lines) stdout.write(line + "\n");
  if (stdin.isTTY !== true || stdout.isTTY !== true) {
    stdout.write(`Waiting for the signature on standard input, for ${duration(expiresAt - clock())} at the most.\n`);
    return nextLine(stdin);
  }
  const typed = await text({ input: stdin, output: stdout, message: "The signature", placeholder: "0x…" });
  if (!isCancel(typed)) return typed;
  throw new Problem("CANCELLED", "standing", "Nothing was done.", { exitCode: ExitCode.interrupted });
}

function instructions({ address, message }: Pick<ToSign, "address" | "message">): string[] {
  const rule = "-".repeat(60);
  return [
    `Sign this text with ${address}, letter by letter, as a personal message (EIP-191):`,
    ...[rule, message, rule],
    "With Foundry, the text saved as message.txt without a line feed at its end:",
    `  cast wallet sign --interactive "$(cat message.txt)"`,
  ];
}

/** The next line that comes; what comes behind it stays for the next one. `undefined`: there is none. */
async function nextLine(stdin: Context["io"]["stdin"]): Promise<string | undefined> {
  const reader = readers.get(stdin) ?? newReader(stdin);
  readers.set(stdin, reader);
  if (!reader.ended) reader.lines.resume();
  const line = await reader.iterator.next();
  // An input that is read no more keeps no program from ending. One that has ended can be told nothing any more.
  if (!reader.ended) reader.lines.pause();
  return line.done === true ? undefined : line.value;
}

interface Reader {
  lines: Interface;
  iterator: AsyncIterator<string, undefined>;
  ended: boolean;
}

function newReader(stdin: Context["io"]["stdin"]): Reader {
  const lines = createInterface({ input: stdin });
  const reader: Reader = { lines, iterator: lines[Symbol.asyncIterator](), ended: false };
  lines.once("close", () => (reader.ended = true));
  return reader;
}

const readers = new WeakMap<object, Reader>();
