import { connect as connectHttp2, type ClientHttp2Session, createSecureServer } from "node:http2";
import type { AddressInfo } from "node:net";

import type { TlsIdentity } from "./attested-service.ts";

/** Somebody on the way who ends TLS, reads everything, and passes it on to the genuine service. */
export interface Relay {
  url: string;
  /** Everything that it got to read, as text: paths, headers and bodies of requests. */
  seen: { path: string; text: string }[];
  close(): Promise<void>;
}

/** `identity` is what it shows to whoever connects. */
export async function startRelay(to: string, identity: TlsIdentity): Promise<Relay> {
  const seen: Relay["seen"] = [];
  const upstream: ClientHttp2Session = connectHttp2(to, { rejectUnauthorized: false });
  upstream.on("error", () => undefined);
  const server = createSecureServer({ ...identity.tls, minVersion: "TLSv1.3" });
  server.on("stream", (stream, headers) => {
    const record = { path: String(headers[":path"]), text: JSON.stringify(headers) };
    seen.push(record);
    const onward = upstream.request({ ...headers, ":authority": new URL(to).host });
    stream.on("data", (chunk: Buffer) => {
      record.text += chunk.toString("latin1");
      onward.write(chunk);
    });
    stream.on("end", () => onward.end());
    onward.on("response", (answer) => stream.respond(answer));
    onward.on("data", (chunk: Buffer) => stream.write(chunk));
    onward.on("end", () => stream.end());
    for (const each of [stream, onward]) each.on("error", () => undefined);
  });
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    close: () =>
      new Promise((resolve) => {
        upstream.destroy();
        for (const session of sessions) session.destroy();
        server.close(() => resolve());
      }),
  };
}
