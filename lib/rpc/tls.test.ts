import { once } from "node:events";
import { get } from "node:https";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { beforeAll, describe, expect, test } from "vitest";

import { selfSignedCertificate } from "./testing/certificate.ts";
import { createGate } from "./testing/gate.ts";
import { exchangeBytes, openSocket } from "./testing/raw-http.ts";
import { ACCOUNT, startToy } from "./testing/toy-server.ts";

let tls: { cert: Buffer; key: Buffer };
beforeAll(async () => (tls = await selfSignedCertificate()));

const transports: [string, (baseUrl: string) => Transport][] = [
  [
    "Connect on HTTP/1.1",
    (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", nodeOptions: { ca: tls.cert } }),
  ],
  [
    "Connect on HTTP/2",
    (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2", nodeOptions: { ca: tls.cert } }),
  ],
  ["gRPC", (baseUrl) => createGrpcTransport({ baseUrl, nodeOptions: { ca: tls.cert } })],
];

describe.each(transports)("over %s and TLS", (_, connect) => {
  test("a call is answered", async () => {
    await using toy = await startToy({ tls });
    expect(toy.url).toMatch(/^https:/);
    const { address } = await createClient(KeyService, connect(toy.url)).deriveAddress({ omniAccount: ACCOUNT });
    expect(address).toBe(`0x${ACCOUNT.slice(0, 40)}`);
  });

  test("what is in flight when the server stops is finished", async () => {
    const gate = createGate();
    const deriveAddress = async () => {
      await gate.wait();
      return { address: "finished" };
    };
    const toy = await startToy({ tls, keys: { deriveAddress } });
    const inFlight = createClient(KeyService, connect(toy.url)).deriveAddress({ omniAccount: ACCOUNT });
    await gate.reached;
    const closed = toy.close();
    gate.open();
    expect((await inFlight).address).toBe("finished");
    await closed;
  });
});

/** How a handshake with these options ends: the protocol agreed on, or the alert. */
async function handshake(port: number, options: ConnectionOptions): Promise<string> {
  const socket: TLSSocket = connectTls({ port, host: "127.0.0.1", ca: tls.cert, ...options });
  return await new Promise((resolve) => {
    socket.once("secureConnect", () => {
      resolve(`${String(socket.getProtocol())} ${String(socket.alpnProtocol)}`);
      socket.destroy();
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

test("TLS 1.2 and 1.3 are spoken, older versions and unknown protocols are not", async () => {
  await using toy = await startToy({ tls });
  expect(await handshake(toy.port, { ALPNProtocols: ["h2", "http/1.1"] })).toBe("TLSv1.3 h2");
  expect(await handshake(toy.port, { maxVersion: "TLSv1.2", ALPNProtocols: ["http/1.1"] })).toBe("TLSv1.2 http/1.1");
  expect(await handshake(toy.port, { maxVersion: "TLSv1.2" })).toBe("TLSv1.2 false");
  const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
  expect(await handshake(toy.port, old)).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
  expect(await handshake(toy.port, { ALPNProtocols: ["smtp"] })).toBe("ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
});

test("cleartext is refused, and the server lives", async () => {
  await using toy = await startToy({ tls });
  expect(await exchangeBytes(toy.port, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")).not.toContain("HTTP/1.1");
  expect(await exchangeBytes(toy.port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).not.toContain("\x00\x00\x00\x04");
  const [response] = (await once(get(`${toy.url}/livez`, { ca: tls.cert, agent: false }), "response")) as [
    { statusCode: number; resume(): void },
  ];
  expect(response.statusCode).toBe(200);
  response.resume();
});

test("a handshake that does not come to its end is cut off", async () => {
  await using toy = await startToy({ tls, limits: { firstByteTimeoutMs: 50 } });
  await exchangeBytes(toy.port, Buffer.from("16030100c5010000c10303", "hex"));
});

test("a request that does not come to its end is cut off", async () => {
  await using toy = await startToy({ tls, limits: { headersTimeoutMs: 50 } });
  const socket = connectTls({ port: toy.port, host: "127.0.0.1", ca: tls.cert });
  socket.write("GET /livez HTTP/1.1\r\nhost: x\r\nx:");
  const [answer] = (await once(socket, "data")) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 408 /);
  await once(socket.resume(), "close");
});

test("a handshake under way does not hold up a stop", async () => {
  const toy = await startToy({ tls });
  const { socket, closed } = openSocket(toy.port);
  await once(socket, "connect");
  await handshake(toy.port, {}); // by now the server knows of the first one too
  await toy.close();
  await closed;
});
