import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "@agentkeys/gen/grpc/health/v1/health_pb";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "../failure.ts";
import { connectTransport, failureOf, Readiness } from "./index.ts";
import { startToy } from "./testing/toy-server.ts";

const readyz = async ({ url }: { url: string }) => {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, body: (await response.json()) as unknown };
};

describe("/readyz", () => {
  test("names each dependency, and looks afresh each time", async () => {
    await using toy = await startToy();
    let isBroken = true;
    toy.readiness.set("store", async () => {
      if (isBroken) await Promise.reject(new Error("disk canary full"));
    });
    toy.readiness.set("signer", () => Promise.resolve());
    expect(await readyz(toy)).toEqual({
      status: 503,
      body: { ready: false, dependencies: { store: { ready: false }, signer: { ready: true } } },
    });
    isBroken = false;
    expect(await readyz(toy)).toMatchObject({ status: 200, body: { ready: true } });
    isBroken = true;
    expect(await readyz(toy)).toMatchObject({ status: 503 });
  });

  test("tells why only where the check says it in a Failure; the log knows in any case", async () => {
    await using toy = await startToy();
    toy.readiness.set("signer", () =>
      Promise.reject(new Failure(ErrorReason.SIGNER_DISABLED, "There is no master secret.")),
    );
    toy.readiness.set("store", () => {
      throw new Error("disk canary full");
    });
    const { body } = await readyz(toy);
    expect(body).toEqual({
      ready: false,
      dependencies: {
        signer: { ready: false, reason: "SIGNER_DISABLED", message: "There is no master secret." },
        store: { ready: false },
      },
    });
    await readyz(toy);
    const failures = toy.logged.filter(({ msg }) => msg === "dependency failed");
    expect(failures).toMatchObject([
      { dependency: "signer", level: "warn" },
      { dependency: "store", error: { message: "disk canary full" } },
    ]);
    toy.readiness.set("store", () => Promise.resolve());
    await readyz(toy);
    expect(toy.logged.filter(({ msg }) => msg === "dependency recovered")).toMatchObject([{ dependency: "store" }]);
  });

  test("counts a check that hangs as failed", async () => {
    await using toy = await startToy({ readiness: new Readiness({ timeoutMs: 10 }) });
    toy.readiness.set("store", () => new Promise(() => undefined));
    expect(await readyz(toy)).toMatchObject({ status: 503 });
  });

  test("asks once for all who look at the same time", async () => {
    const readiness = new Readiness();
    let looks = 0;
    readiness.set("store", async () => {
      looks += 1;
      await Promise.resolve();
    });
    await Promise.all([readiness.look(), readiness.look()]);
    expect(looks).toBe(1);
    await readiness.look();
    expect(looks).toBe(2);
  });

  test("takes nothing but GET and HEAD", async () => {
    await using toy = await startToy();
    const response = await fetch(`${toy.url}/readyz`, { method: "POST" });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    expect((await fetch(`${toy.url}/livez`, { method: "HEAD" })).status).toBe(200);
  });

  test("is alive without being ready", async () => {
    await using toy = await startToy();
    toy.readiness.set("store", () => Promise.reject(new Error("no")));
    const response = await fetch(`${toy.url}/livez`);
    expect([response.status, await response.json()]).toEqual([200, { live: true }]);
  });
});

describe("grpc.health.v1", () => {
  const broken = (): Promise<never> => Promise.reject(new Error("no"));
  const fine = (): Promise<void> => Promise.resolve();

  test.each(["", "agentkeys.keys.v1.KeyService"])("follows readiness: %j", async (service) => {
    await using toy = await startToy();
    const health = createClient(Health, createGrpcTransport({ baseUrl: toy.url }));
    expect(await health.check({ service })).toMatchObject({ status: ServingStatus.SERVING });
    toy.readiness.set("store", broken);
    expect(await health.check({ service })).toMatchObject({ status: ServingStatus.NOT_SERVING });
  });

  test("lists the server and its services", async () => {
    await using toy = await startToy();
    const { statuses } = await createClient(Health, connectTransport(toy.url)).list({});
    expect(Object.keys(statuses)).toEqual(["", "agentkeys.keys.v1.KeyService", "agentkeys.broker.v1.AccountService"]);
  });

  test("knows no other service", async () => {
    await using toy = await startToy();
    const health = createClient(Health, createGrpcTransport({ baseUrl: toy.url }));
    const error: unknown = await health.check({ service: "nobody" }).catch((caught: unknown) => caught);
    expect(failureOf(error)).toMatchObject({ code: Code.NotFound, reason: undefined });
    const first = await health.watch({ service: "nobody" })[Symbol.asyncIterator]().next();
    expect(first.value).toMatchObject({ status: ServingStatus.SERVICE_UNKNOWN });
  });

  test("tells a watcher of every change", async () => {
    await using toy = await startToy();
    const health = createClient(Health, createGrpcTransport({ baseUrl: toy.url }));
    const watch = health.watch({})[Symbol.asyncIterator]();
    expect((await watch.next()).value).toMatchObject({ status: ServingStatus.SERVING });
    toy.readiness.set("store", broken);
    expect((await watch.next()).value).toMatchObject({ status: ServingStatus.NOT_SERVING });
    toy.readiness.set("store", fine);
    expect((await watch.next()).value).toMatchObject({ status: ServingStatus.SERVING });
    await watch.return?.();
  });

  test("asks nobody who they are", async () => {
    await using toy = await startToy({
      interceptors: [
        () => () => {
          throw new Failure(ErrorReason.SESSION_REQUIRED, "who?");
        },
      ],
    });
    const health = createClient(Health, connectTransport(toy.url));
    expect(await health.check({})).toMatchObject({ status: ServingStatus.SERVING });
  });
});
