import { request } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { HOUR } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";

import { Problem, problemOf } from "../../problem.ts";
import { credentialsOf } from "../../testing/credentials.ts";
import { type ContainerEndpoint, type Offer, serveCredentials } from "./container-endpoint.ts";

const TOKEN = "the-token";
const NOW = Date.UTC(2030, 0, 1);

let endpoint: ContainerEndpoint;
let offer: () => Promise<Offer>;
beforeEach(async () => {
  offer = () => Promise.resolve({ credentials: credentialsOf(NOW, HOUR) });
  endpoint = await serveCredentials({
    listen: { host: "127.0.0.1", port: 0 },
    token: new Secret(TOKEN),
    offer: () => offer(),
  });
});
afterEach(() => endpoint.close());

interface Reply {
  status: number;
  body: Record<string, unknown>;
  headers: Record<string, unknown>;
}

/** Asks as a program on this machine does, unless told otherwise. */
function ask(o: { method?: string; path?: string; headers?: Record<string, string | undefined> } = {}): Promise<Reply> {
  const url = new URL(o.path ?? "/v1/credentials", endpoint.url);
  const given: [string, string | undefined][] = Object.entries({ authorization: TOKEN, ...o.headers });
  const headers = Object.fromEntries(given.filter(([, value]) => value !== undefined)) as Record<string, string>;
  return new Promise((resolve, reject) => {
    const call = request(url, { method: o.method ?? "GET", headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => {
        const body = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
        resolve({ status: response.statusCode ?? 0, body, headers: response.headers });
      });
    });
    call.on("error", reject);
    call.end();
  });
}

describe("the container credentials endpoint", () => {
  test("hands out credentials in AWS's form", async () => {
    const { status, body, headers } = await ask();
    expect(status).toBe(200);
    expect(body).toEqual({
      AccessKeyId: "ASIATEST",
      SecretAccessKey: "secret-access-key",
      Token: "session-token",
      Expiration: "2030-01-01T01:00:00Z",
    });
    expect(headers["cache-control"]).toBe("no-store");
    expect(headers["content-type"]).toBe("application/json");
  });

  test.each([
    ["no token", undefined],
    ["an empty one", ""],
    ["another one", "the-tokem"],
    ["a beginning of it", "the-toke"],
    ["more than it", "the-token-"],
    ["a scheme before it", `Bearer ${TOKEN}`],
    ["another case", "The-Token"],
  ])("refuses %s", async (_, authorization) => {
    const { status, body } = await ask({ headers: { authorization } });
    expect(status).toBe(401);
    expect(body).toMatchObject({ code: "UNAUTHORIZED", Code: "UNAUTHORIZED" });
    expect(JSON.stringify(body)).not.toContain("secret-access-key");
  });

  test.each([
    ["a name that leads here (DNS rebinding)", { host: "evil.example" }],
    ["a name with our port", { host: "evil.example:80" }],
    ["another port", { host: "127.0.0.1:1" }],
    ["no port", { host: "127.0.0.1" }],
    ["an Origin", { origin: "http://localhost" }],
    ["our own Origin", { origin: "null" }],
    ["a browser's fetch from another site", { "sec-fetch-site": "cross-site" }],
    ["a browser's fetch from the same site", { "sec-fetch-site": "same-origin" }],
  ])("refuses %s, even with the token", async (_, headers) => {
    for (const path of ["/v1/credentials", "/livez", "/readyz"]) {
      const { status, body } = await ask({ path, headers });
      expect(status).toBe(403);
      expect(body["code"]).toBe("FORBIDDEN");
    }
  });

  test("is served under every name of loopback", async () => {
    const { port } = new URL(endpoint.url);
    for (const host of [`localhost:${port}`, `LocalHost:${port}`, `127.0.0.1:${port}`]) {
      expect((await ask({ headers: { host } })).status).toBe(200);
    }
  });

  test("answers no preflight, and never lets a browser read along", async () => {
    const preflight = await ask({
      method: "OPTIONS",
      headers: { origin: "https://evil.example", "access-control-request-method": "GET" },
    });
    expect(preflight.status).toBe(403);
    for (const { headers } of [preflight, await ask()]) {
      expect(Object.keys(headers).filter((name) => name.startsWith("access-control"))).toEqual([]);
    }
  });

  test.each(["POST", "PUT", "HEAD", "DELETE", "OPTIONS"])("refuses %s", async (method) => {
    const { status, headers } = await ask({ method });
    expect(status).toBe(405);
    expect(headers["allow"]).toBe("GET");
  });

  test.each(["/", "/v1", "/v1/credentials/", "/v1/credentials/../credentials", "//v1/credentials", "/.env"])(
    "has nothing at %s",
    async (path) => {
      const status = await new Promise<string>((resolve, reject) => {
        const { port, host } = new URL(endpoint.url);
        const socket = connect(Number(port), "127.0.0.1", () =>
          socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${TOKEN}\r\nConnection: close\r\n\r\n`),
        );
        socket.once("data", (chunk) => resolve(chunk.toString().slice(9, 12)));
        socket.once("error", reject);
      });
      expect(status).toBe("404");
    },
  );

  test("never answers 200 with nothing in it: without credentials it says why", async () => {
    offer = () =>
      Promise.resolve({ trouble: { reason: "SESSION_REVOKED", kind: "sign-in", text: "Run `agentkeys init`." } });
    const { status, body } = await ask();
    expect(status).toBe(503);
    expect(body).toEqual({
      code: "SESSION_REVOKED",
      message: "Run `agentkeys init`.",
      Code: "SESSION_REVOKED",
      Message: "Run `agentkeys init`.",
    });
  });

  test("says whether it is ready to whoever asks on this machine, and nothing else", async () => {
    const headers = { authorization: undefined };
    expect(await ask({ path: "/livez", headers })).toMatchObject({ status: 200, body: { live: true } });
    expect(await ask({ path: "/readyz", headers })).toMatchObject({ status: 200, body: { ready: true } });
    offer = () => Promise.resolve({ trouble: { reason: "STARTING", kind: "passing", text: "Wait." } });
    expect(await ask({ path: "/readyz", headers })).toMatchObject({
      status: 503,
      body: { ready: false, reason: "STARTING", message: "Wait." },
    });
  });

  test("tells nothing of a fault of its own", async () => {
    offer = () => Promise.reject(new Error("canary"));
    const { status, body } = await ask();
    expect(status).toBe(500);
    expect(JSON.stringify(body)).not.toContain("canary");
  });

  test("answers what was asked before it ends, and nothing after", async () => {
    let give: (value: Offer) => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      offer = () => {
        resolve();
        return new Promise((given) => (give = given));
      };
    });
    const reply = ask();
    await asked;
    const closed = endpoint.close();
    give({ credentials: credentialsOf(NOW, HOUR) });
    expect((await reply).status).toBe(200);
    await closed;
    await expect(ask()).rejects.toThrow("ECONNREFUSED");
  });

  test("says so when another program listens there", async () => {
    const { port } = new URL(endpoint.url);
    const second = serveCredentials({
      listen: { host: "127.0.0.1", port: Number(port) },
      token: new Secret("x"),
      offer,
    });
    const problem = await second.then(() => undefined, problemOf);
    expect(problem).toBeInstanceOf(Problem);
    expect(problem).toMatchObject({ reason: "LISTEN", exitCode: 78 });
    expect(problem?.text).toContain("another program listens there. Set AGENTKEYS_LISTEN");
  });
});
