import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "@agentkeys/gen/grpc/health/v1/health_pb";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";

import { ErrorReason } from "../failure.ts";
import { failureOf, stopping } from "./index.ts";
import { createGate, type Gate } from "./testing/gate.ts";
import { type Protocol, protocols } from "./testing/protocols.ts";
import { openSocket } from "./testing/raw-http.ts";
import { ACCOUNT, startToy, type ToyOptions, type ToyServer } from "./testing/toy-server.ts";

const { deriveAddress } = KeyService.method;
const protocolNamed = (name: string): Protocol => protocols.find((protocol) => protocol.name === name)!;

/** A server whose calls wait at the gate, except those for another account. */
async function gatedToy(gate: Gate, options: ToyOptions = {}): Promise<ToyServer> {
  const wait = async () => {
    await gate.wait();
    return { address: "finished" };
  };
  return await startToy({ keys: { deriveAddress: wait }, ...options });
}

describe.each(protocols)("over $name", ({ call }) => {
  test("what is in flight is finished", async () => {
    const gate = createGate();
    const toy = await gatedToy(gate);
    const inFlight = call(toy.url, deriveAddress, { omniAccount: ACCOUNT });
    await gate.reached;
    const closed = toy.close();
    gate.open();
    expect((await inFlight).address).toBe("finished");
    await closed;
  });

  test("a new call meanwhile is told to come back", async () => {
    const gate = createGate();
    const toy = await gatedToy(gate);
    const inFlight = call(toy.url, deriveAddress, { omniAccount: ACCOUNT });
    await gate.reached;
    const closed = toy.close();
    const refused = await call(toy.url, deriveAddress, { omniAccount: ACCOUNT }).catch((error: unknown) => error);
    expect(failureOf(refused)).toMatchObject({
      code: Code.Unavailable,
      reason: ErrorReason.SHUTTING_DOWN,
      retryAfterMs: 1000,
    });
    gate.open();
    await inFlight;
    await closed;
  });
});

test("a new call on a connection that has one in flight is answered there", async () => {
  const gate = createGate();
  const toy = await gatedToy(gate);
  const session = connectHttp2(toy.url);
  const post = (): ReturnType<typeof session.request> =>
    session
      .request({ ":method": "POST", ":path": "/dev/derive-address", "content-type": "application/json" })
      .end(JSON.stringify({ omni_account: ACCOUNT }));
  const first = post();
  await gate.reached;
  const closed = toy.close();
  const second = post();
  const [refusal] = (await once(second, "response")) as [Record<string, unknown>];
  expect([refusal[":status"], refusal["retry-after"]]).toEqual([503, "1"]);
  second.resume();
  gate.open();
  const [answer] = (await once(first, "response")) as [Record<string, unknown>];
  expect(answer[":status"]).toBe(200);
  first.resume();
  await Promise.all([once(session, "close"), closed]);
});

test("probes and pages say so meanwhile", async () => {
  const gate = createGate();
  const toy = await gatedToy(gate, { pages: () => new Response("page") });
  const inFlight = fetch(`${toy.url}/dev/derive-address`, {
    method: "POST",
    body: Buffer.from(`{"omni_account":"${ACCOUNT}"}`),
  });
  await gate.reached;
  const closed = toy.close();
  const statusOf = async (path: string): Promise<number> => (await fetch(toy.url + path)).status;
  expect([await statusOf("/livez"), await statusOf("/readyz"), await statusOf("/")]).toEqual([200, 503, 503]);
  gate.open();
  expect((await inFlight).headers.get("connection")).toBe("close");
  await closed;
});

test("idle connections are closed at once, and nobody can connect afterwards", async () => {
  const toy = await startToy();
  const http1 = openSocket(toy.port);
  http1.socket.write("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
  while (!http1.received().includes("live")) await once(http1.socket, "data");
  const undecided = openSocket(toy.port);
  undecided.socket.write("PRI");
  const http2 = connectHttp2(toy.url);
  await once(http2, "remoteSettings");
  const gone = [http1.closed, undecided.closed, once(http2, "close")];
  await toy.close();
  await Promise.all(gone);
  const [refused] = (await once(connect(toy.port, "127.0.0.1"), "error")) as [NodeJS.ErrnoException];
  expect(refused.code).toBe("ECONNREFUSED");
});

test.each(["Connect JSON on HTTP/1.1", "gRPC by connect-node"])(
  "what does not end in time is cut: %s",
  async (name) => {
    const gate = createGate(); // never opened
    const toy = await gatedToy(gate, { limits: { drainMs: 30 } });
    const { call } = protocolNamed(name);
    const inFlight = call(toy.url, deriveAddress, { omniAccount: ACCOUNT }).catch((error: unknown) => error);
    await gate.reached;
    await toy.close();
    expect(failureOf(await inFlight).reason).toBeUndefined();
    expect(toy.logged.at(-1)).toMatchObject({ msg: "stopped" });
  },
);

test("a stream that would never end is ended", async () => {
  const toy = await startToy();
  const health = createClient(Health, createGrpcTransport({ baseUrl: toy.url }));
  const watch = health.watch({})[Symbol.asyncIterator]();
  expect((await watch.next()).value).toMatchObject({ status: ServingStatus.SERVING });
  const ended = watch.next().catch((error: unknown) => error);
  await toy.close();
  expect(failureOf(await ended)).toMatchObject({ code: Code.Unavailable, reason: ErrorReason.SHUTTING_DOWN });
});

test("a handler that polls can learn of it and answer early", async () => {
  const gate = createGate();
  const toy = await startToy({
    keys: {
      deriveAddress: async (_, { values }) => {
        const stop = values.get(stopping);
        const stopped = new Promise((resolve) => stop.addEventListener("abort", resolve));
        void gate.wait();
        await stopped;
        return { address: "early" };
      },
    },
  });
  const inFlight = protocolNamed("gRPC by grpc-js").call(toy.url, deriveAddress, { omniAccount: ACCOUNT });
  await gate.reached;
  await toy.close();
  expect((await inFlight).address).toBe("early");
});

test("closing twice is closing once", async () => {
  const toy = await startToy();
  await Promise.all([toy.close(), toy.close()]);
  expect(toy.logged.filter(({ msg }) => msg === "stopped")).toHaveLength(1);
});
