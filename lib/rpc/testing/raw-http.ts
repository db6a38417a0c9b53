import { connect, type Socket } from "node:net";

import { errorFromJson } from "@connectrpc/connect/protocol-connect";
import { Code, ConnectError } from "@connectrpc/connect";

import { type CallFailure, failureOf } from "../failure-of.ts";

/** One HTTP/1.1 response as it came over a socket. */
export interface RawResponse {
  status: number;
  headers: Headers;
  body: string;
}

/** Opens a connection and collects all that the server says on it. */
export function openSocket(port: number): { socket: Socket; closed: Promise<string>; received: () => string } {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  const chunks: Buffer[] = [];
  const received = (): string => Buffer.concat(chunks).toString("latin1");
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("error", () => undefined);
  socket.on("end", () => socket.end());
  const closed = new Promise<string>((resolve) => socket.once("close", () => resolve(received())));
  return { socket, closed, received };
}

/** Sends bytes and gives what the server says until it closes the connection. */
export async function exchangeBytes(port: number, bytes: string | Uint8Array): Promise<string> {
  const { socket, closed } = openSocket(port);
  socket.write(bytes);
  return await closed;
}

/** Takes a response with a content-length apart. */
export function parseResponse(text: string): RawResponse {
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = text.slice(0, end).split("\r\n");
  const headers = new Headers(
    lines.map((line): [string, string] => [line.split(": ", 1)[0] ?? "", line.replace(/^.*?: /, "")]),
  );
  return { status: Number(statusLine.split(" ")[1]), headers, body: text.slice(end + 4) };
}

/** Reads an error in Connect's shape from a plain HTTP answer. */
export function failureIn(body: unknown): CallFailure {
  return failureOf(
    errorFromJson(body as never, undefined, new ConnectError("not an error in Connect's shape", Code.Unknown)),
  );
}
