import { once } from "node:events";
import { request as requestHttp } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTls, type TLSSocket } from "node:tls";

import { beforeAll, describe, expect, test } from "vitest";

import { channelBinding, tlsExporterOf } from "./channel-binding.ts";
import { selfSignedCertificate } from "./testing/certificate.ts";
import { ACCOUNT, startToy, type ToyOptions, type ToyServer } from "./testing/toy-server.ts";

let tls: { cert: Buffer; key: Buffer };
beforeAll(async () => (tls = await selfSignedCertificate()));

const BODY = JSON.stringify({ omni_account: ACCOUNT });

/** A server that answers with the exporter of the connection that it was asked on. */
function startTelling(options: Pick<ToyOptions, "tls"> = {}): Promise<ToyServer> {
  return startToy({
    ...options,
    keys: {
      deriveAddress: (_request, context) => ({
        address: context.values.get(channelBinding)?.tlsExporter().toString("hex") ?? "none",
      }),
    },
  });
}

async function dial(toy: ToyServer, options: object): Promise<TLSSocket> {
  const socket = connectTls({ port: toy.port, host: "127.0.0.1", ca: tls.cert, ...options });
  await once(socket, "secureConnect");
  return socket;
}

async function askOverHttp2(toy: ToyServer, socket: TLSSocket): Promise<string> {
  const session = connectHttp2(toy.url, { createConnection: () => socket });
  const stream = session.request({
    ":method": "POST",
    ":path": "/dev/derive-address",
    "content-type": "application/json",
  });
  stream.end(BODY);
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  session.close();
  return (JSON.parse(text) as { address: string }).address;
}

async function askOverHttp1(toy: ToyServer, socket: TLSSocket): Promise<string> {
  const request = requestHttp(`http://127.0.0.1:${toy.port}/dev/derive-address`, {
    method: "POST",
    headers: { "content-type": "application/json", connection: "close" },
    createConnection: () => socket,
  });
  request.end(BODY);
  const [response] = (await once(request, "response")) as [AsyncIterable<Buffer>];
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return (JSON.parse(text) as { address: string }).address;
}

describe.each([
  ["HTTP/2", { ALPNProtocols: ["h2"] }, askOverHttp2],
  ["HTTP/1.1", { ALPNProtocols: ["http/1.1"] }, askOverHttp1],
] as const)("over %s", (_, options, ask) => {
  test("a handler has the same exporter as the caller, and another on each connection", async () => {
    await using toy = await startTelling({ tls });
    const seen = new Set<string>();
    for (let i = 0; i < 2; i++) {
      const socket = await dial(toy, { ...options, ALPNProtocols: [...options.ALPNProtocols] });
      const own = tlsExporterOf(socket).toString("hex");
      expect(own).toMatch(/^[0-9a-f]{64}$/);
      expect(await ask(toy, socket)).toBe(own);
      seen.add(own);
    }
    expect(seen.size).toBe(2);
  });

  test("a resumed session has an exporter of its own", async () => {
    await using toy = await startTelling({ tls });
    const wanted = { ...options, ALPNProtocols: [...options.ALPNProtocols] };
    const first = await dial(toy, wanted);
    const ticket = once(first, "session") as Promise<[Buffer]>;
    const before = await ask(toy, first);
    const [session] = await ticket;
    const again = await dial(toy, { ...wanted, session });
    expect(again.isSessionReused()).toBe(true);
    const own = tlsExporterOf(again).toString("hex");
    expect(await ask(toy, again)).toBe(own);
    expect(own).not.toBe(before);
  });

  test("TLS 1.2 gives no binding", async () => {
    await using toy = await startTelling({ tls });
    const socket = await dial(toy, { maxVersion: "TLSv1.2", ALPNProtocols: [...options.ALPNProtocols] });
    expect(await ask(toy, socket)).toBe("none");
  });
});

test("cleartext has no binding", async () => {
  await using toy = await startTelling();
  const response = await fetch(`${toy.url}/dev/derive-address`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: BODY,
  });
  expect(await response.json()).toMatchObject({ address: "none" });
});

test("a port that wants TLS 1.3 refuses TLS 1.2", async () => {
  await using toy = await startToy({ tls: { ...tls, minVersion: "TLSv1.3" } });
  const refused = connectTls({ port: toy.port, host: "127.0.0.1", ca: tls.cert, maxVersion: "TLSv1.2" });
  const [error] = (await once(refused, "error")) as [NodeJS.ErrnoException];
  expect(error.code).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
  const socket = await dial(toy, {});
  expect(socket.getProtocol()).toBe("TLSv1.3");
  socket.destroy();
});
