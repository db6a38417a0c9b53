import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

import { afterEach, expect, test } from "vitest";

import { TpmChannelError } from "./errors.ts";
import { openTransport, parseTpmAddress, type TpmTransport } from "./transport.ts";

const COMMAND = Buffer.from("80010000000c0000014400000000", "hex");
const ANSWER = Buffer.from("80010000000a00000000", "hex");

let server: Server | undefined;
let transport: TpmTransport | undefined;
afterEach(async () => {
  await transport?.close();
  server?.close();
});

/** Something on a socket that takes a command and does with it what the test says. */
async function connectTo(answer: (socket: Socket) => void, answerMs?: number): Promise<TpmTransport> {
  const listening = createServer(
    (socket) => void socket.once("data", () => answer(socket)).on("error", () => undefined),
  );
  server = listening.listen(0, "127.0.0.1");
  await once(listening, "listening");
  const address = listening.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  transport = await openTransport({ host: "127.0.0.1", port: address.port }, answerMs);
  return transport;
}

test("an answer that comes byte by byte is put together", async () => {
  const tpm = await connectTo((socket) => {
    socket.setNoDelay(true);
    for (const byte of ANSWER) socket.write(Buffer.of(byte));
  });
  expect(await tpm.transmit(COMMAND)).toEqual(ANSWER);
});

test.each([
  ["too short a length", Buffer.from("80010000000900000000", "hex")],
  ["a length beyond what a TPM answers", Buffer.from("8001ffffffff00000000", "hex")],
  ["more bytes than it says", Buffer.concat([ANSWER, Buffer.of(0)])],
])("an answer of %s breaks the connection", async (_what, bytes) => {
  const tpm = await connectTo((socket) => void socket.write(bytes));
  await expect(tpm.transmit(COMMAND)).rejects.toThrow("impossible length");
  await expect(tpm.transmit(COMMAND)).rejects.toBeInstanceOf(TpmChannelError);
});

test("a TPM that hangs up, or does not answer, is an error at once and ever after", async () => {
  const gone = await connectTo((socket) => socket.destroy());
  await expect(gone.transmit(COMMAND)).rejects.toBeInstanceOf(TpmChannelError);
  await expect(gone.transmit(COMMAND)).rejects.toBeInstanceOf(TpmChannelError);
  server?.close();
  const silent = await connectTo(() => undefined, 30);
  await expect(silent.transmit(COMMAND)).rejects.toThrow("did not answer within 30 ms");
});

test("two commands at a time are refused", async () => {
  const tpm = await connectTo((socket) => void setImmediate(() => socket.write(ANSWER)));
  const first = tpm.transmit(COMMAND);
  await expect(tpm.transmit(COMMAND)).rejects.toThrow("one command at a time");
  expect(await first).toEqual(ANSWER);
});

test("where there is no TPM, it says where it looked", async () => {
  await expect(openTransport({ unix: "/no/such.sock" })).rejects.toThrow("there is no TPM at /no/such.sock");
  await expect(openTransport({ device: "/no/such" })).rejects.toThrow("there is no TPM at /no/such");
});

test("an address is a device, a unix socket or a host and port", () => {
  expect(parseTpmAddress("device:/dev/tpmrm0")).toEqual({ device: "/dev/tpmrm0" });
  expect(parseTpmAddress("unix:/run/tpm.sock")).toEqual({ unix: "/run/tpm.sock" });
  expect(parseTpmAddress("tcp:127.0.0.1:2321")).toEqual({ host: "127.0.0.1", port: 2321 });
  for (const wrong of ["", "/dev/tpm0", "device:tpm0", "unix:x", "tcp:host", "tcp:host:0", "tcp:host:70000", "usb:1"]) {
    expect(parseTpmAddress(wrong)).toBeUndefined();
  }
});
