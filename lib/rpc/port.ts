import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from "node:http";
import {
  createServer as createHttp2Server,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Server, Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";

import { listenAt } from "../listen.ts";
import { Connections } from "./connections.ts";
import { limitConnections } from "./crowd.ts";
import type { NodeRequest, NodeResponse } from "./node-http.ts";
import { answerBadRequest } from "./junk.ts";
import type { Limits } from "./limits.ts";
import { sniff } from "./sniff.ts";

/** How long a connection may stay without a request, HTTP/1.1 or HTTP/2; longer than the 60 s of common load balancers. */
const IDLE_MS = 65_000;

/** What a port needs to speak TLS. */
export interface TlsOptions {
  /** PEM. */
  cert: Buffer;
  /** PEM. */
  key: Buffer;
  /** Default: TLS 1.2. */
  minVersion?: "TLSv1.2" | "TLSv1.3";
}

export interface Port {
  host: string;
  port: number;
  /** How many connections there are now. */
  readonly openConnections: () => number;
  /** Resolves when what is in flight is answered or cut after `drainMs`, every connection closed and the port free. */
  drain(drainMs: number): Promise<void>;
}

/**
 * Listens for HTTP/1.1 and HTTP/2 on one port: by the first bytes when it is cleartext, by ALPN (RFC 7301) when there is a
 * certificate. Both kinds feed the same two servers, so that limits and stopping are the same for all. (Node's own
 * `http2.createSecureServer({ allowHTTP1: true })` keeps its HTTP/1.1 half's time limits and idle connections out of reach.)
 */
export async function openPort(options: {
  listen: { host: string; port: number };
  tls?: TlsOptions | undefined;
  limits: Limits;
  onRequest: (request: NodeRequest, response: NodeResponse) => void;
}): Promise<Port> {
  const { listen, tls, limits } = options;
  const connections = new Connections();
  const onRequest = (request: NodeRequest, response: NodeResponse): void => {
    connections.addExchange(request, response);
    // Failures of a connection also surface here; the response's "close" says all there is to know.
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    options.onRequest(request, response);
  };
  const http1 = http1Server(limits, connections, onRequest);
  const http2 = http2Server(connections, onRequest);
  const speak = (socket: Socket, protocol: string): void => {
    if (protocol === "h2") connections.becameHttp2(socket);
    (protocol === "h2" ? http2 : http1).emit("connection", socket);
  };

  const handshakes = new Handshakes();
  const server: Server =
    tls === undefined
      ? createTcpServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
          connections.addSocket(socket);
          sniff(socket, limits.firstByteTimeoutMs, (protocol) => speak(socket, protocol));
        })
      : createTlsServer(
          {
            minVersion: "TLSv1.2",
            ...tls,
            ALPNProtocols: ["h2", "http/1.1"],
            handshakeTimeout: limits.firstByteTimeoutMs,
          },
          (socket) => {
            handshakes.done(socket);
            connections.addSocket(socket);
            speak(socket, socket.alpnProtocol === "h2" ? "h2" : "http/1.1");
          },
        ).on("connection", (socket: Socket) => handshakes.begin(socket));
  limitConnections(server, limits);
  server.on("tlsClientError", (_error: Error, socket: Socket) => void socket.destroy());

  await listenAt(server, listen);
  server.on("error", () => undefined); // of a single accept(2), such as EMFILE; listening goes on

  return {
    host: listen.host,
    port: (server.address() as AddressInfo).port,
    openConnections: () => connections.count,
    drain: async (drainMs) => {
      const late = AbortSignal.timeout(drainMs);
      const cut = (): void => connections.cut();
      late.addEventListener("abort", cut, { once: true });
      await connections.finish();
      const released = new Promise((resolve) => server.close(resolve));
      handshakes.cut();
      if (late.aborted) cut();
      await connections.leave();
      await released;
      late.removeEventListener("abort", cut);
      http1.close();
    },
  };
}

function http1Server(
  limits: Limits,
  connections: Connections,
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
): HttpServer {
  const { headersTimeoutMs, requestTimeoutMs } = limits;
  const server = createHttpServer(
    {
      headersTimeout: headersTimeoutMs,
      // Bodies have a time limit of their own that answers better; this one is for requests that nobody reads.
      requestTimeout: headersTimeoutMs + requestTimeoutMs,
      connectionsCheckingInterval: Math.ceil(Math.min(1000, headersTimeoutMs / 4)),
      keepAliveTimeout: IDLE_MS,
    },
    onRequest,
  );
  server.on("clientError", (error, socket) => {
    if (socket instanceof Socket) answerBadRequest(error, socket, connections);
    else socket.destroy();
  });
  // A server that does not listen by itself only starts its checks of slow requests when told that it does.
  server.emit("listening");
  return server;
}

function http2Server(
  connections: Connections,
  onRequest: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
): Http2Server {
  const server = createHttp2Server({ settings: { maxConcurrentStreams: 100 } }, onRequest);
  server.on("session", (session) => connections.addSession(session, IDLE_MS));
  server.on("sessionError", () => undefined);
  return server;
}

/** TCP connections whose TLS handshake is not finished, by the address and port of the peer. */
class Handshakes {
  readonly #sockets = new Map<string, Socket>();

  begin(socket: Socket): void {
    const peer = peerOf(socket);
    this.#sockets.set(peer, socket);
    socket.on("error", () => undefined);
    socket.once("close", () => this.#sockets.delete(peer));
  }

  done(socket: Socket): void {
    this.#sockets.delete(peerOf(socket));
  }

  cut(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }
}

function peerOf({ remoteAddress = "", remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
