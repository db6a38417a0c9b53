import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";

import { ErrorReason } from "../failure.ts";
import { createLog } from "../log.ts";
import { connectTransport, failureOf, runUntilSignal } from "./index.ts";
import { ACCOUNT, startToy } from "./testing/toy-server.ts";

describe("connectTransport", () => {
  test("calls a server, through its interceptors in their order", async () => {
    await using toy = await startToy();
    const order: string[] = [];
    const noting =
      (name: string): Interceptor =>
      (next) =>
      (request) => {
        order.push(name);
        return next(request);
      };
    const transport = connectTransport(toy.url, { interceptors: [noting("first"), noting("second")] });
    await createClient(KeyService, transport).deriveAddress({ omniAccount: ACCOUNT });
    expect(order).toEqual(["first", "second"]);
  });

  test("gives up a call after its own timeout", async () => {
    await using toy = await startToy({ keys: { deriveAddress: () => new Promise(() => undefined) } });
    const client = createClient(KeyService, connectTransport(toy.url, { timeoutMs: 30 }));
    const error: unknown = await client.deriveAddress({ omniAccount: ACCOUNT }).catch((caught: unknown) => caught);
    expect(failureOf(error).code).toBe(Code.DeadlineExceeded);
  });

  test("does not take in more than 4 MiB", async () => {
    const server = createServer((_, response) => {
      response.setHeader("content-type", "application/proto");
      response.end(Buffer.alloc(5 * 1024 * 1024));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const client = createClient(KeyService, connectTransport(`http://127.0.0.1:${port}`));
    const error: unknown = await client.deriveAddress({ omniAccount: ACCOUNT }).catch((caught: unknown) => caught);
    expect(failureOf(error).code).toBe(Code.ResourceExhausted);
    server.close();
    server.closeAllConnections();
  });
});

describe("failureOf", () => {
  test("has no reason for an error that no server answered", async () => {
    const client = createClient(KeyService, connectTransport("http://127.0.0.1:1"));
    const error: unknown = await client.deriveAddress({ omniAccount: ACCOUNT }).catch((caught: unknown) => caught);
    expect(failureOf(error)).toMatchObject({ code: Code.Unavailable, reason: undefined, metadata: {} });
  });

  test("takes the time to wait from Retry-After where there is no RetryInfo", () => {
    expect(failureOf(new ConnectError("later", Code.Unavailable, { "retry-after": "3" })).retryAfterMs).toBe(3000);
    expect(
      failureOf(new ConnectError("later", Code.Unavailable, { "retry-after": "Wed, 21 Oct" })).retryAfterMs,
    ).toBeUndefined();
  });

  test("knows no reason that this program is too old for", async () => {
    const { ErrorInfoSchema } = await import("@agentkeys/gen/google/rpc/error_details_pb");
    const failing = (reason: string, domain: string): ConnectError =>
      new ConnectError("no", Code.Unavailable, undefined, [{ desc: ErrorInfoSchema, value: { reason, domain } }]);
    expect(failureOf(failing("LOGIN_PENDING", "agentkeys")).reason).toBe(ErrorReason.LOGIN_PENDING);
    expect(failureOf(failing("FROM_THE_FUTURE", "agentkeys")).reason).toBeUndefined();
    expect(failureOf(failing("43", "agentkeys")).reason).toBeUndefined();
    expect(failureOf(failing("LOGIN_PENDING", "googleapis.com")).reason).toBeUndefined();
  });

  test("takes whatever was thrown", () => {
    expect(failureOf(new TypeError("x"))).toMatchObject({ code: Code.Unknown, message: "x" });
    expect(failureOf("x")).toMatchObject({ code: Code.Unknown, message: "x" });
  });
});

describe("runUntilSignal", () => {
  class FakeProcess extends EventEmitter {
    readonly statuses: number[] = [];
    exit(status: number): void {
      this.statuses.push(status);
      this.emit("exited");
    }
  }
  const log = createLog("toy", { destination: { write: () => undefined } });

  test.each(["SIGTERM", "SIGINT"])("closes at %s and then ends the process with 0", async (signal) => {
    const host = new FakeProcess();
    let finish: (() => void) | undefined;
    runUntilSignal({ close: () => new Promise((resolve) => (finish = resolve)) }, log, host);
    host.emit(signal);
    expect(host.statuses).toEqual([]);
    finish?.();
    await once(host, "exited");
    expect(host.statuses).toEqual([0]);
  });

  test("a second signal ends it at once with 1", () => {
    const host = new FakeProcess();
    runUntilSignal({ close: () => new Promise(() => undefined) }, log, host);
    host.emit("SIGTERM");
    host.emit("SIGINT");
    expect(host.statuses).toEqual([1]);
  });

  test("a stop that fails ends it with 1", async () => {
    const host = new FakeProcess();
    runUntilSignal({ close: () => Promise.reject(new Error("no")) }, log, host);
    host.emit("SIGTERM");
    await once(host, "exited");
    expect(host.statuses).toEqual([1]);
  });
});
