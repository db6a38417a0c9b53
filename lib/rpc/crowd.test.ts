import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

import { beforeAll, describe, expect, test } from "vitest";

import { limitConnections } from "./crowd.ts";
import { selfSignedCertificate } from "./testing/certificate.ts";
import { startToy } from "./testing/toy-server.ts";

let tls: { cert: Buffer; key: Buffer };
beforeAll(async () => (tls = await selfSignedCertificate()));

const dial = (port: number, localAddress = "127.0.0.1"): Socket =>
  connect({ port, host: "127.0.0.1", localAddress }).on("error", () => undefined);

describe.each(["cleartext", "TLS"])("over %s", (how) => {
  test("a source has so many connections at a time, whatever it does with them; another one still gets in", async () => {
    const limits = { connections: { ofOne: 2, ofAll: 3 }, firstByteTimeoutMs: 60_000 };
    await using toy = await startToy({ limits, ...(how === "TLS" && { tls }) });
    const [first, second] = [dial(toy.port), dial(toy.port)];
    await Promise.all([once(first, "connect"), once(second, "connect")]);
    await once(dial(toy.port), "close");
    const other = dial(toy.port, "127.0.0.2");
    await once(other, "connect");
    // Now there are as many as there may be of all.
    await once(dial(toy.port, "127.0.0.3"), "close");
    for (const socket of [first, second, other]) expect(socket.destroyed).toBe(false);
    for (const socket of [first, second, other]) socket.destroy();
  });
});

test("a connection that ended makes room for the next", async () => {
  const server = createServer();
  limitConnections(server, { connections: { ofOne: 1, ofAll: 100 } });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  for (let i = 0; i < 5; i++) {
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const socket = dial(port);
    const [peer] = await accepted;
    expect(peer.destroyed).toBe(false);
    const gone = once(peer, "close");
    peer.on("error", () => undefined).resume();
    socket.destroy();
    await gone;
  }
  server.close();
});
