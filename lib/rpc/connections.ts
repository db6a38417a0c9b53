import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";

import { closeAfter, isHttp1, type NodeRequest, type NodeResponse } from "./node-http.ts";

/**
 * Every connection of a server and what is in flight on it, so that a stop can let that finish, see the connections off
 * and cut the rest.
 */
export class Connections {
  readonly #sockets = new Map<Socket, { responses: Set<NodeResponse>; isHttp2: boolean }>();
  readonly #sessions = new Map<ServerHttp2Session, { streams: number }>();
  readonly #inFlight = new Map<NodeResponse, NodeRequest>();
  #draining = false;

  /** How many there are. */
  get count(): number {
    return this.#sockets.size;
  }

  /** Follows a connection. */
  addSocket(socket: Socket): void {
    this.#sockets.set(socket, { responses: new Set(), isHttp2: false });
    // Without a listener an error of the network would end the process; "close" follows each.
    socket.on("error", () => undefined);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  /** Notes that a connection turned out to speak HTTP/2: its session says when it is idle. */
  becameHttp2(socket: Socket): void {
    const entry = this.#sockets.get(socket);
    if (entry !== undefined) entry.isHttp2 = true;
  }

  /** Follows an HTTP/2 session; `idleMs` without a stream and without a frame ends it. */
  addSession(session: ServerHttp2Session, idleMs: number): void {
    const entry = { streams: 0 };
    this.#sessions.set(session, entry);
    session.on("error", () => undefined);
    session.once("close", () => this.#sessions.delete(session));
    session.setTimeout(idleMs, () => {
      if (entry.streams === 0) session.close();
    });
    session.on("stream", (stream) => {
      entry.streams += 1;
      stream.once("close", () => {
        entry.streams -= 1;
        if (this.#draining && entry.streams === 0) session.close();
      });
    });
  }

  /** Follows a request until its response is out or its connection is gone. */
  addExchange(request: NodeRequest, response: NodeResponse): void {
    this.#inFlight.set(response, request);
    const { socket } = request;
    const responses = isHttp1(request) ? this.#sockets.get(socket)?.responses : undefined;
    responses?.add(response);
    response.once("close", () => {
      this.#inFlight.delete(response);
      responses?.delete(response);
      if (this.#draining && responses?.size === 0) socket.destroySoon();
    });
  }

  /** The responses in flight on an HTTP/1.1 connection. */
  responsesOn(socket: Socket): ReadonlySet<NodeResponse> {
    return this.#sockets.get(socket)?.responses ?? new Set();
  }

  /** Closes idle connections, tells the others to end, and resolves when all that is in flight now has been answered. */
  async finish(): Promise<void> {
    this.#draining = true;
    const admitted = [...this.#inFlight];
    for (const [response, request] of admitted) closeAfter({ request, response });
    // A session that has streams gets its GOAWAY with the last of them: nghttp2 ignores every stream that comes after a
    // GOAWAY, and a new call is to be told why it is refused.
    for (const [session, { streams }] of this.#sessions) if (streams === 0) session.close();
    this.#destroyIdleSockets();
    await Promise.all(admitted.map(([response]) => closed(response)));
  }

  /** Sees off what has been answered; resolves when no connection is left. */
  async leave(): Promise<void> {
    for (const session of this.#sessions.keys()) session.close();
    this.#destroyIdleSockets();
    await Promise.all([...this.#sockets.keys()].map((socket) => closed(socket)));
  }

  /** Cuts every connection. */
  cut(): void {
    for (const session of this.#sessions.keys()) session.destroy();
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  #destroyIdleSockets(): void {
    for (const [socket, { responses, isHttp2 }] of this.#sockets) {
      if (responses.size === 0 && !isHttp2) socket.destroy();
    }
  }
}

async function closed(emitter: Socket | NodeResponse): Promise<void> {
  if ("closed" in emitter && emitter.closed) return;
  await new Promise((resolve) => emitter.once("close", resolve));
}
