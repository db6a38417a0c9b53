import { type FileHandle, open } from "node:fs/promises";
import { connect, type Socket } from "node:net";

import { TpmChannelError } from "./errors.ts";
import { MAX_STRUCTURE } from "./marshal.ts";

/** Carries one command at a time to a TPM and brings the answer back. */
export interface TpmTransport {
  /** @throws TpmChannelError when the TPM is gone, or does not answer in time; then the transport is of no more use. */
  transmit(command: Uint8Array): Promise<Buffer>;
  close(): Promise<void>;
}

/** Where a TPM is: a character device with a resource manager, or the data socket of a swtpm. */
export type TpmAddress = { device: string } | { unix: string } | { host: string; port: number };

/** Tag, length and response code. */
const HEADER_BYTES = 10;
/** Making an RSA key may take a discrete TPM this long. */
const ANSWER_MS = 60_000;

/** Reads `device:/dev/tpmrm0`, `unix:/run/swtpm.sock` or `tcp:127.0.0.1:2321`; `undefined` for anything else. */
export function parseTpmAddress(text: string): TpmAddress | undefined {
  const [, kind, rest] = /^(device|unix|tcp):(.+)$/.exec(text) ?? [];
  if (rest === undefined) return undefined;
  if (kind === "device") return rest.startsWith("/") ? { device: rest } : undefined;
  if (kind === "unix") return rest.startsWith("/") ? { unix: rest } : undefined;
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(rest) ?? [];
  const number = Number(port);
  return host !== undefined && number > 0 && number < 65536 ? { host, port: number } : undefined;
}

/** @throws TpmChannelError when there is none. */
export async function openTransport(address: TpmAddress, answerMs = ANSWER_MS): Promise<TpmTransport> {
  try {
    return "device" in address
      ? deviceTransport(await open(address.device, "r+"))
      : socketTransport(await connected("unix" in address ? { path: address.unix } : address), answerMs);
  } catch (error) {
    throw new TpmChannelError(`there is no TPM at ${nameOf(address)}`, { cause: error });
  }
}

function nameOf(address: TpmAddress): string {
  if ("device" in address) return address.device;
  return "unix" in address ? address.unix : `${address.host}:${address.port}`;
}

/** The kernel holds a reader until the answer is whole, and gives it in one piece. */
function deviceTransport(file: FileHandle): TpmTransport {
  return {
    transmit: async (command) => {
      await file.write(command, 0, command.length, null);
      const answer = Buffer.alloc(MAX_STRUCTURE);
      const { bytesRead } = await file.read(answer, 0, answer.length, null);
      return answer.subarray(0, bytesRead);
    },
    close: () => file.close(),
  };
}

function connected(to: { path: string } | { host: string; port: number }): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(to);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

function socketTransport(socket: Socket, answerMs: number): TpmTransport {
  let received = Buffer.alloc(0);
  let failure: TpmChannelError | undefined;
  let waiting: { resolve: (answer: Buffer) => void; reject: (error: Error) => void } | undefined;

  const fail = (why: string, cause?: unknown): void => {
    failure ??= new TpmChannelError(why, { cause });
    waiting?.reject(failure);
    waiting = undefined;
    socket.destroy();
  };
  socket.on("error", (error) => fail("the connection to the TPM broke", error));
  socket.on("close", () => fail("the connection to the TPM was closed"));
  socket.on("timeout", () => {
    if (waiting) fail(`the TPM did not answer within ${answerMs} ms`);
  });
  socket.on("data", (part) => {
    if (waiting === undefined) {
      fail("the TPM answered what nobody asked");
      return;
    }
    received = Buffer.concat([received, part]);
    if (received.length < HEADER_BYTES) return;
    const length = received.readUInt32BE(2);
    if (length < HEADER_BYTES || length > MAX_STRUCTURE || received.length > length) {
      fail("the TPM's answer has an impossible length");
      return;
    }
    if (received.length < length) return;
    const { resolve } = waiting;
    const answer = received;
    waiting = undefined;
    received = Buffer.alloc(0);
    socket.setTimeout(0);
    resolve(answer);
  });

  return {
    transmit: (command) =>
      new Promise((resolve, reject) => {
        if (failure !== undefined || waiting !== undefined) {
          reject(failure ?? new TpmChannelError("one command at a time"));
          return;
        }
        waiting = { resolve, reject };
        socket.setTimeout(answerMs);
        socket.write(command);
      }),
    close: () =>
      new Promise((resolve) => {
        if (socket.destroyed) {
          resolve();
          return;
        }
        socket.once("close", () => resolve());
        socket.end();
        socket.destroySoon();
      }),
  };
}
