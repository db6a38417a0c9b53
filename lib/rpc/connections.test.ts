import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";

import { describe, expect, test } from "vitest";

import { exchangeBytes, openSocket, parseResponse } from "./testing/raw-http.ts";
import { ACCOUNT, startToy } from "./testing/toy-server.ts";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const EMPTY_SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const GET_LIVEZ = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

describe("the first bytes of a connection", () => {
  test("may come one by one: HTTP/2", async () => {
    await using toy = await startToy();
    const { socket, received } = openSocket(toy.port);
    for (const byte of Buffer.concat([PREFACE, EMPTY_SETTINGS])) {
      await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
      await new Promise(setImmediate);
    }
    while (received().length < 9) await once(socket, "data");
    expect(received().charCodeAt(3)).toBe(4); // a SETTINGS frame
    socket.destroy();
  });

  test.each([GET_LIVEZ, GET_LIVEZ.replace("GET", "PUT"), GET_LIVEZ.replace("GET", "PROPFIND")])(
    "may come one by one: %j",
    async (request) => {
      await using toy = await startToy();
      const { socket, closed } = openSocket(toy.port);
      for (const byte of Buffer.from(request)) {
        await new Promise((resolve) => socket.write(Buffer.of(byte), resolve));
        await new Promise(setImmediate);
      }
      expect(await closed).toMatch(/^HTTP\/1\.1 (200|405) /);
    },
  );

  test.each([
    ["SOCKS 5", Buffer.from([5, 1, 0])],
    ["SOCKS 4", Buffer.from([4, 1, 0, 80, 127, 0, 0, 1, 0])],
    ["TLS", Buffer.from("16030100c5010000c10303", "hex")],
    ["SSH", Buffer.from("SSH-2.0-OpenSSH_9.2\r\n")],
    ["nearly HTTP/2", Buffer.from("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")],
    [
      "HTTP with two lengths",
      Buffer.from("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
    ],
    ["HTTP without a host", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
  ])("that are %s are answered 400, and the connection is closed", async (_, bytes) => {
    await using toy = await startToy();
    expect(parseResponse(await exchangeBytes(toy.port, bytes)).status).toBe(400);
  });

  test("that are an HTTP/2 preface and then nonsense close the connection, and the server lives", async () => {
    await using toy = await startToy();
    await exchangeBytes(toy.port, Buffer.concat([PREFACE, Buffer.alloc(64, 0xff)]));
    expect((await fetch(`${toy.url}/livez`)).status).toBe(200);
  });
});

test("headers of more than 16 KiB are answered 431", async () => {
  await using toy = await startToy();
  const request = `GET /livez HTTP/1.1\r\nhost: x\r\nx: ${"x".repeat(17_000)}\r\n\r\n`;
  expect(parseResponse(await exchangeBytes(toy.port, request)).status).toBe(431);
});

test("a client that closes its half after the request still gets the answer", async () => {
  await using toy = await startToy();
  const { socket, closed } = openSocket(toy.port);
  socket.end("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
  expect(await closed).toMatch(/^HTTP\/1\.1 200 OK[^]*\{"live":true\}$/);
});

test("requests may be pipelined", async () => {
  await using toy = await startToy();
  const answers = await exchangeBytes(toy.port, `GET /livez HTTP/1.1\r\nhost: x\r\n\r\n${GET_LIVEZ}`);
  expect(answers.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
});

test("an HTTP/1.1 target may have the absolute form", async () => {
  await using toy = await startToy();
  const answer = await exchangeBytes(toy.port, GET_LIVEZ.replace("/livez", "http://elsewhere.example/livez?x"));
  expect(parseResponse(answer).status).toBe(200);
});

describe("a client that resets its connection", () => {
  test.each([
    ["before it says anything", ""],
    ["within the preface", "PRI * HT"],
    ["within the headers", "POST /dev/derive-address HTTP/1.1\r\nho"],
    ["within the body", "POST /dev/derive-address HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"],
    ["after the preface", PREFACE],
  ])("%s does no harm", async (_, bytes) => {
    await using toy = await startToy();
    const { socket, closed } = openSocket(toy.port);
    await once(socket, "connect");
    await new Promise((resolve) => socket.write(bytes, resolve));
    socket.resetAndDestroy();
    await closed;
    expect((await fetch(`${toy.url}/livez`)).status).toBe(200);
  });
});

describe("a client that is too slow", () => {
  const limits = { firstByteTimeoutMs: 50, headersTimeoutMs: 50, requestTimeoutMs: 50 };

  test.each([
    ["and says nothing", ""],
    ["and does not finish the preface", "PRI * HTTP/2"],
  ])("%s is cut off", async (_, bytes) => {
    await using toy = await startToy({ limits });
    expect(await exchangeBytes(toy.port, bytes)).toBe("");
  });

  test("with its headers is answered 408", async () => {
    await using toy = await startToy({ limits });
    const { status, body } = parseResponse(await exchangeBytes(toy.port, "GET /livez HTTP/1.1\r\nhost: x\r\nx: "));
    expect([status, JSON.parse(body)]).toEqual([
      408,
      { code: "deadline_exceeded", message: "The request did not arrive in time." },
    ]);
  });

  test.each(["/dev/derive-address", "/agentkeys.keys.v1.KeyService/DeriveAddress", "/page"])(
    "with a body for %s is told so, and the connection is closed",
    async (path) => {
      // Node's own limit for a whole request, which counts from its first byte, must not be what a loaded machine meets first.
      const bodyOnly = { ...limits, headersTimeoutMs: 20_000 };
      await using toy = await startToy({
        limits: bodyOnly,
        pages: async (request) => new Response(await request.text()),
      });
      const head = `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`;
      const { status, headers, body } = parseResponse(await exchangeBytes(toy.port, head));
      expect([status, headers.get("connection")]).toEqual([504, "close"]);
      expect(JSON.parse(body)).toMatchObject({
        code: "deadline_exceeded",
        message: "The request's body did not arrive within 0.05 s.",
      });
    },
  );

  test("with a body is told so on HTTP/2 too", async () => {
    await using toy = await startToy({ limits });
    const session = connectHttp2(toy.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/dev/derive-address",
      "content-type": "application/json",
    });
    stream.write(`{"omni_account":"${ACCOUNT}`);
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(headers[":status"]).toBe(504);
    session.destroy();
  });
});
