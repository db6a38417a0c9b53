import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { ErrorReason, Failure } from "../failure.ts";
import { failureOf, type Pages } from "./index.ts";
import { protocols } from "./testing/protocols.ts";
import { failureIn } from "./testing/raw-http.ts";
import { ACCOUNT, startToy, type ToyServer } from "./testing/toy-server.ts";

const pages: Pages = async (request, info) => {
  const { pathname, searchParams } = new URL(request.url);
  switch (pathname) {
    case "/":
    case "/dev/mailbox":
      return new Response(`${request.method} ${info.sourceAddress} ${searchParams.get("q") ?? ""}`, {
        headers: [
          ["set-cookie", "a=1"],
          ["set-cookie", "b=2"],
          ["content-type", "text/html"],
        ],
      });
    case "/form":
      return new Response((await request.formData()).get("token"));
    case "/taken":
      throw new Failure(ErrorReason.RATE_LIMITED, "Too many.", { retryAfterMs: 2000 });
    case "/broken":
      throw new Error("canary");
    default:
      return new Response("<h1>Not here</h1>", { status: 404, headers: { "content-type": "text/html" } });
  }
};

let toy: ToyServer;
beforeAll(async () => (toy = await startToy({ pages })));
afterAll(() => toy.close());

describe("pages", () => {
  test("answer what is no RPC, no route and no probe, also beside the routes", async () => {
    for (const path of ["/?q=a%20b", "/dev/mailbox?q=a%20b"]) {
      const response = await fetch(toy.url + path);
      expect([response.status, await response.text()]).toEqual([200, "GET 127.0.0.1 a b"]);
      expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    }
  });

  test("are served on HTTP/2", async () => {
    const session = connectHttp2(toy.url);
    const stream = session.request({ ":path": "/" });
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    await once(stream, "end");
    expect(Buffer.concat(chunks).toString()).toMatch(/^GET /);
    session.close();
  });

  test("answer HEAD as GET without the body, on both", async () => {
    const response = await fetch(`${toy.url}/`, { method: "HEAD" });
    expect([response.status, response.headers.get("content-type"), await response.text()]).toEqual([
      200,
      "text/html",
      "",
    ]);
    const session = connectHttp2(toy.url);
    const stream = session.request({ ":path": "/", ":method": "HEAD" });
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect([headers[":status"], headers["content-type"]]).toEqual([200, "text/html"]);
    session.close();
  });

  test("read forms", async () => {
    const response = await fetch(`${toy.url}/form`, { method: "POST", body: new URLSearchParams({ token: "a b&c" }) });
    expect(await response.text()).toBe("a b&c");
  });

  test("get no body of more than 1 MiB, whether it says its length or not", async () => {
    const large = Buffer.alloc(1024 * 1024 + 1, "x");
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(large);
        controller.close();
      },
    });
    for (const body of [large, stream]) {
      const response = await fetch(`${toy.url}/form`, { method: "POST", body, duplex: "half" } as RequestInit);
      expect(response.status).toBe(429);
      expect(failureIn(await response.json()).reason).toBe(ErrorReason.REQUEST_TOO_LARGE);
    }
  });

  test("may throw a Failure; anything else is the server's own fault and stays in its log", async () => {
    const taken = await fetch(`${toy.url}/taken`);
    expect([taken.status, taken.headers.get("retry-after")]).toEqual([429, "2"]);
    const broken = await fetch(`${toy.url}/broken`);
    expect([broken.status, await broken.text()]).toEqual([500, expect.not.stringContaining("canary")]);
    expect(toy.logged.find(({ msg }) => msg === "page failed unexpectedly")).toMatchObject({
      error: { message: "canary" },
    });
  });

  test("say themselves that something is not there, except among the routes", async () => {
    const page = await fetch(`${toy.url}/nowhere`);
    expect([page.status, page.headers.get("content-type")]).toEqual([404, "text/html"]);
    for (const path of ["/v1/auth/exchange", "/dev/nothing", "/tee"]) {
      const response = await fetch(toy.url + path);
      expect([response.status, response.headers.get("content-type")]).toEqual([404, "application/json"]);
      expect(failureIn(await response.json())).toMatchObject({
        reason: ErrorReason.NOT_SERVED,
        message: `Nothing is served at ${path}.`,
      });
    }
  });

  test("need not be there: then every unknown path is answered in JSON", async () => {
    await using bare = await startToy();
    const response = await fetch(`${bare.url}/session/validate`);
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([404, "not_found"]);
  });
});

describe("an RPC that does not exist", () => {
  const unknown = { ...KeyService.method.deriveAddress, name: "Derive" };

  test.each(protocols.filter(({ name }) => name !== "the HTTP route"))(
    "is unimplemented over $name",
    async ({ call }) => {
      const error: unknown = await call(toy.url, unknown, { omniAccount: ACCOUNT }).catch((caught: unknown) => caught);
      expect(failureOf(error)).toMatchObject({
        reason: ErrorReason.NOT_SERVED,
        message: "This server has no such RPC.",
      });
    },
  );
});

describe("a call that a browser makes for a web page", () => {
  const post = (path: string, headers: Record<string, string>): Promise<Response> =>
    fetch(toy.url + path, { method: "POST", headers, body: Buffer.from(`{"omni_account":"${ACCOUNT}"}`) });

  test.each(["https://evil.example", "null", "http://127.0.0.1:1"])(
    "of another origin is refused: %s",
    async (origin) => {
      const route = await post("/dev/derive-address", { origin });
      const rpc = await post("/agentkeys.keys.v1.KeyService/DeriveAddress", {
        origin,
        "content-type": "application/json",
      });
      for (const response of [route, rpc]) {
        expect(response.status).toBe(400);
        expect(failureIn(await response.json()).message).toBe("Calls from web pages of another origin are refused.");
      }
    },
  );

  test("of its own origin is answered", async () => {
    expect((await post("/dev/derive-address", { origin: toy.url })).status).toBe(200);
  });
});
