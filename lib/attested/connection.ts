import { createHash } from "node:crypto";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { isIP } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";

import { type Http2Connections, tlsExporterOf } from "../rpc/index.ts";

/** One TLS connection to a key service that nobody has vouched for yet, and what this end of it knows by itself. */
export interface Connection extends Http2Connections {
  /** SHA-256 of the public key (SubjectPublicKeyInfo) that the other end proved to have. */
  readonly spkiSha256: Buffer;
  /** RFC 9266: both ends of this very connection have it, and nobody else. */
  readonly exporter: Buffer;
  readonly isOpen: boolean;
  close(): void;
}

/** What answers cannot be attested, whatever it is: no evidence could be about this connection. */
export class NotAttestable extends Error {
  override readonly name = "NotAttestable";
}

/** Longer than a slow network takes; a call's own deadline is 30 s. */
const CONNECT_MS = 10_000;
/** A connection that nobody used for this long is closed: shorter than the server's patience, and than most a network's on the way. */
const IDLE_MS = 60_000;

/**
 * Opens a TLS 1.3 connection with HTTP/2 on it. The certificate is not checked against anything: what it says is the business of
 * whoever appraises the evidence, and until then nothing but a nonce may be sent. @throws NotAttestable, the network's errors
 */
export async function openConnection(url: string): Promise<Connection> {
  const socket = await dial(new URL(url));
  // Only the first call gives the certificate, and a resumed session has none.
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined || socket.alpnProtocol !== "h2" || socket.getProtocol() !== "TLSv1.3") {
    socket.destroy();
    throw new NotAttestable(`what answers at ${url} does not speak HTTP/2 over TLS 1.3`);
  }
  const spki = certificate.publicKey.export({ format: "der", type: "spki" });
  const exporter = tlsExporterOf(socket);
  const session = connectHttp2(url, { createConnection: () => socket });
  return overSession(new URL(url).origin, session, createHash("sha256").update(spki).digest(), exporter);
}

async function dial({ hostname, port }: URL): Promise<TLSSocket> {
  const host = hostname.replace(/^\[|\]$/g, "");
  return await new Promise<TLSSocket>((resolve, reject) => {
    const socket = connectTls({
      host,
      port: port === "" ? 443 : Number(port),
      ...(isIP(host) === 0 && { servername: host }),
      ALPNProtocols: ["h2"],
      minVersion: "TLSv1.3",
      // Attested instead: the certificate is the worker's own, made at its start.
      rejectUnauthorized: false,
    });
    const failed = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(
      () => failed(Object.assign(new Error("no TLS connection in time"), { code: "ETIMEDOUT" })),
      CONNECT_MS,
    );
    socket.once("error", failed);
    socket.once("secureConnect", () => {
      clearTimeout(timer);
      socket.off("error", failed);
      resolve(socket);
    });
  });
}

function overSession(authority: string, session: ClientHttp2Session, spkiSha256: Buffer, exporter: Buffer): Connection {
  let streams = 0;
  // Every stream tells its own reader of a connection that broke.
  session.on("error", () => undefined);
  session.setTimeout(IDLE_MS, () => session.close());
  // An idle connection does not keep a command from ending.
  session.unref();
  const release = (): void => {
    streams -= 1;
    if (streams === 0 && !session.destroyed) session.unref();
  };
  return {
    authority,
    spkiSha256,
    exporter,
    get isOpen() {
      return !session.closed && !session.destroyed;
    },
    // Asynchronous, so that a connection that has just ended fails the request as one that ends later does.
    request: (method, path, headers, options) =>
      new Promise<ClientHttp2Stream>((resolve) => {
        const stream = session.request({ ...headers, ":method": method, ":path": path }, options);
        if (streams === 0) session.ref();
        streams += 1;
        stream.once("close", release);
        resolve(stream);
      }),
    close: () => session.destroy(),
  };
}
