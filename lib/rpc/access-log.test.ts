import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "../failure.ts";
import { Secret } from "../secret.ts";
import { requestInfo, type RequestInfo } from "./index.ts";
import { protocols } from "./testing/protocols.ts";
import { ACCOUNT, startToy } from "./testing/toy-server.ts";

const { deriveAddress, signMessage } = KeyService.method;

test.each(protocols)("a call over $name leaves one line", async ({ name, call }) => {
  let now = 5000;
  await using toy = await startToy({
    clock: () => now,
    keys: {
      deriveAddress: () => {
        now += 7;
        throw new Failure(ErrorReason.SIGNER_DISABLED, "no secret");
      },
    },
  });
  const headers = { "x-request-id": "request-one" };
  await call(toy.url, deriveAddress, { omniAccount: ACCOUNT }, { headers }).catch(() => undefined);
  const line = await toy.nextLog(({ msg }) => msg === "call");
  expect(line).toEqual({
    level: "info",
    time: expect.any(String) as string,
    service: "toy",
    msg: "call",
    method: "agentkeys.keys.v1.KeyService/DeriveAddress",
    protocol: name.startsWith("gRPC-Web")
      ? "grpc-web"
      : name.startsWith("gRPC")
        ? "grpc"
        : name.includes("route")
          ? "http"
          : "connect",
    code: "unavailable",
    reason: "SIGNER_DISABLED",
    duration_ms: 7,
    request_id: "request-one",
    source: "127.0.0.1",
  });
  expect(toy.logged.filter(({ msg }) => msg === "call")).toHaveLength(1);
});

test.each(protocols)("a call over $name that succeeds is ok, one that breaks a rule says so", async ({ call }) => {
  await using toy = await startToy();
  await call(toy.url, deriveAddress, { omniAccount: ACCOUNT });
  expect(await toy.nextLog(({ msg }) => msg === "call")).toMatchObject({ code: "ok" });
  await call(toy.url, deriveAddress, { omniAccount: "" }).catch(() => undefined);
  const line = await toy.nextLog(({ code }) => code === "invalid_argument");
  expect(line).toMatchObject({ reason: "INVALID_OMNI_ACCOUNT" });
});

describe("secrets do not reach the log", () => {
  const canary = "canary-4711";

  test.each(protocols)("from headers and fields over $name, whether the call succeeds or fails", async ({ call }) => {
    await using toy = await startToy();
    const headers = {
      authorization: `DPoP ${canary}`,
      dpop: canary,
      cookie: canary,
      "user-agent": canary,
      [canary]: canary,
    };
    await call(toy.url, signMessage, { omniAccount: ACCOUNT, challengeToken: canary }, { headers });
    await call(toy.url, signMessage, { omniAccount: canary, challengeToken: canary }, { headers }).catch(
      () => undefined,
    );
    await toy.nextLog(({ code }) => code === "invalid_argument");
    expect(toy.logText()).not.toContain(canary);
  });

  test("from paths and queries of what is not served, nor from queries of what is", async () => {
    await using toy = await startToy();
    for (const path of [`/${canary}`, `/v1/${canary}`, `/livez?${canary}`, `/v1/account/events?page_token=${canary}`]) {
      await fetch(toy.url + path);
    }
    await fetch(`${toy.url}/${canary}`, { method: "POST", body: canary });
    await toy.nextLog(({ http_method }) => http_method === "POST");
    expect(toy.logText()).not.toContain(canary);
  });

  test("from errors: their properties stay out, and so do tokens in their text", async () => {
    const token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnktNDcxMSJ9.c2lnbmF0dXJl";
    await using toy = await startToy({
      keys: {
        deriveAddress: () => {
          const cause = Object.assign(new Error(`upstream refused ${token}`), { parameters: [canary] });
          throw Object.assign(new Error("query failed", { cause }), { sql: canary, secret: new Secret(canary) });
        },
        signMessage: () => {
          throw new Failure(ErrorReason.STORE_UNAVAILABLE, "The store is away.", { cause: new Error(`told ${token}`) });
        },
      },
    });
    for (const path of ["/dev/derive-address", "/dev/sign-message"]) {
      const body = Buffer.from(`{"omni_account":"${ACCOUNT}"}`);
      const response = await fetch(toy.url + path, { method: "POST", body });
      expect(await response.text()).not.toMatch(/query|upstream|told|eyJ/);
    }
    const failed = await toy.nextLog(({ msg }) => msg === "call failed unexpectedly");
    expect(failed).toMatchObject({
      level: "error",
      method: "agentkeys.keys.v1.KeyService/DeriveAddress",
      error: { type: "Error", message: "query failed", cause: { message: "upstream refused [token]" } },
    });
    expect((failed["error"] as { stack: string }).stack).toContain("access-log.test.ts");
    const wrapped = await toy.nextLog(({ msg }) => msg === "call failed");
    expect(wrapped).toMatchObject({ level: "warn", error: { message: "told [token]" } });
    expect(toy.logText()).not.toContain(canary);
    expect(toy.logText()).not.toContain("eyJ");
  });
});

describe("a request id", () => {
  test.each(["an-id.of_42", "01234567"])("that looks like one is kept and sent back: %s", async (id) => {
    await using toy = await startToy();
    const response = await fetch(`${toy.url}/livez`, { headers: { "x-request-id": id } });
    expect(response.headers.get("x-request-id")).toBe(id);
  });

  test.each(["short", "x".repeat(65), "with space", "with/slash", '{"a":1}'])(
    "that does not is replaced: %s",
    async (id) => {
      await using toy = await startToy({ random: (length) => new Uint8Array(length) });
      const response = await fetch(`${toy.url}/livez`, { headers: { "x-request-id": id } });
      expect(response.headers.get("x-request-id")).toBe("A".repeat(22));
    },
  );

  test("is in every answer, errors and pages too", async () => {
    await using toy = await startToy({ pages: () => new Response("page") });
    for (const path of ["/", "/readyz", "/dev/derive-address", "/agentkeys.keys.v1.KeyService/SignMessage"]) {
      expect((await fetch(toy.url + path)).headers.get("x-request-id")).toMatch(/^[\w-]{22}$/);
    }
  });
});

test("the handler sees what is known of the request, by every way in", async () => {
  const seen: RequestInfo[] = [];
  await using toy = await startToy({
    trustedProxies: ["127.0.0.1"],
    keys: {
      deriveAddress: (_, { values }) => {
        seen.push(values.get(requestInfo));
        return {};
      },
    },
  });
  const headers = { "x-request-id": "request-one", "x-forwarded-for": "198.51.100.1", "user-agent": "u".repeat(600) };
  const body = JSON.stringify({ omniAccount: ACCOUNT });
  for (const path of ["/tee/derive-address?x=1", "/agentkeys.keys.v1.KeyService/DeriveAddress"]) {
    await fetch(toy.url + path, { method: "POST", headers: { ...headers, "content-type": "application/json" }, body });
  }
  const common = {
    requestId: "request-one",
    sourceAddress: "198.51.100.1",
    method: "POST",
    userAgent: "u".repeat(512),
  };
  expect(seen).toEqual([
    { ...common, path: "/tee/derive-address" },
    { ...common, path: "/agentkeys.keys.v1.KeyService/DeriveAddress" },
  ]);
});
