import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { ErrorReason } from "../failure.ts";
import { libraryService } from "./testing/library.ts";
import { failureIn } from "./testing/raw-http.ts";
import { ACCOUNT, startToy, type ToyServer } from "./testing/toy-server.ts";

interface Answer {
  status: number;
  headers: Headers;
  body: JsonObject;
}

async function send(server: { url: string }, verb: string, path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(server.url + path, { method: verb, ...init });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: JSON.parse(text === "" ? "{}" : text) as JsonObject,
  };
}

const json = (value: unknown): RequestInit => ({
  headers: { "content-type": "application/json" },
  body: typeof value === "string" ? value : JSON.stringify(value),
});
/** fetch sends bytes without a content-type. */
const untyped = (text: string): RequestInit => ({ body: Buffer.from(text) });

describe("the routes of our protos", () => {
  let toy: ToyServer;
  beforeAll(async () => (toy = await startToy()));
  afterAll(() => toy.close());

  test("answer with proto names and every implicit field", async () => {
    const { status, headers, body } = await send(toy, "POST", "/dev/derive-address", json({ omni_account: ACCOUNT }));
    expect([status, headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(body).toEqual({ address: `0x${ACCOUNT.slice(0, 40)}`, key_version: 0 });
  });

  test.each(["/dev/derive-address", "/tee/derive-address"])(
    "are served at additional bindings too: %s",
    async (path) => {
      const { status } = await send(toy, "POST", path, json({ omni_account: ACCOUNT }));
      expect(status).toBe(200);
    },
  );

  test.each(["omni_account", "omniAccount"])("read %s", async (name) => {
    const { body } = await send(toy, "POST", "/dev/derive-address", json({ [name]: ACCOUNT }));
    expect(body["address"]).toBe(`0x${ACCOUNT.slice(0, 40)}`);
  });

  test("ignore unknown fields", async () => {
    const { status } = await send(toy, "POST", "/dev/derive-address", json({ omni_account: ACCOUNT, more: { x: 1 } }));
    expect(status).toBe(200);
  });

  test("take a body without a content-type for JSON", async () => {
    const { status } = await send(
      toy,
      "POST",
      "/dev/derive-address",
      untyped(JSON.stringify({ omni_account: ACCOUNT })),
    );
    expect(status).toBe(200);
  });

  test("take an empty body for an empty message", async () => {
    const { status, body } = await send(toy, "POST", "/dev/derive-address");
    expect([status, failureIn(body).reason]).toEqual([400, ErrorReason.INVALID_OMNI_ACCOUNT]);
  });

  test.each([
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/proto",
    "application/json; charset=latin1",
  ])("refuse a body of type %s with 415 and a JSON error", async (type) => {
    const init = { headers: { "content-type": type }, body: JSON.stringify({ omni_account: ACCOUNT }) };
    const { status, headers, body } = await send(toy, "POST", "/dev/derive-address", init);
    expect([status, headers.get("accept-post")]).toEqual([415, "application/json"]);
    expect(failureIn(body)).toMatchObject({
      reason: ErrorReason.INVALID_REQUEST,
      message: "Content-Type must be application/json.",
    });
  });

  test("name the verbs that a path takes in a 405", async () => {
    const post = await send(toy, "DELETE", "/dev/derive-address");
    expect([post.status, post.headers.get("allow")]).toEqual([405, "POST"]);
    expect(failureIn(post.body).reason).toBe(ErrorReason.INVALID_REQUEST);
    const get = await send(toy, "POST", "/v1/account/events", json({}));
    expect([get.status, get.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  test("take a GET's fields from the query, by either name", async () => {
    const { body } = await send(toy, "GET", "/v1/account/events?page_size=7&pageToken=a%2Db");
    expect(body).toEqual({ events: [], next_page_token: "7 a-b" });
  });

  test("validate what a query says", async () => {
    const { status, body } = await send(toy, "GET", "/v1/account/events?page_size=201");
    expect([status, failureIn(body).message]).toEqual([400, "page_size: must be less than or equal to 200"]);
    const text = await send(toy, "GET", "/v1/account/events?page_size=many");
    expect(failureIn(text.body).message).toBe(
      "page_size: must be a whole number of 32 bits, not negative, and be given once.",
    );
    const twice = await send(toy, "GET", "/v1/account/events?page_size=1&page_size=2");
    expect(failureIn(twice.body).message).toBe("page_size: is given 2 times.");
  });

  test("answer HEAD as GET without the body", async () => {
    const response = await fetch(`${toy.url}/v1/account/events?page_size=1`, { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  });

  test.each(["/v1/account/events?page_token=%zz", "/v1/account%ff/events", "/v1/account/%"])(
    "refuse percent-encoding that is none: %s",
    async (path) => {
      const { status, body } = await send(toy, "GET", path);
      expect([status, failureIn(body).reason]).toEqual([400, ErrorReason.INVALID_REQUEST]);
      expect(failureIn(body).message).toMatch(/^The (query|path) is not percent-encoded UTF-8\.$/);
    },
  );

  test.each(["/v1/auth/exchange", "/dev/", "/tee/derive-address/"])("know no %s", async (path) => {
    const { status, headers, body } = await send(toy, "POST", path, json({}));
    expect([status, headers.get("content-type"), body["code"]]).toEqual([404, "application/json", "not_found"]);
    expect(failureIn(body).reason).toBe(ErrorReason.NOT_SERVED);
  });
});

describe("routes of every other form", () => {
  let toy: ToyServer;
  beforeAll(async () => {
    const Library = libraryService({
      GetBook: { pattern: { case: "get", value: "/v1/shelves/{shelf_name}/books/{title}" } },
      FindBook: { pattern: { case: "get", value: "/v1/authors/{author.name}:find" } },
      ReadPath: { pattern: { case: "get", value: "/v1/paths/{title=**}" } },
      NamedShelf: { pattern: { case: "get", value: "/v1/{shelf_name=rooms/*/shelves}" } },
      PutBook: { pattern: { case: "put", value: "/v1/shelves/{shelf_name}/books/{title}" }, body: "*" },
      SetAuthor: { pattern: { case: "patch", value: "/v1/books/{title}/author" }, body: "author" },
      Burn: { pattern: { case: "custom", value: { kind: "BURN", path: "/v1/books" } } },
    });
    toy = await startToy({
      services: [Library],
      routes: (router) => {
        const echo = (book: object) => book;
        router.service(Library, Object.fromEntries(Library.methods.map(({ localName }) => [localName, echo])) as never);
      },
    });
  });
  afterAll(() => toy.close());

  test("read variables from the path, decoded", async () => {
    const { body } = await send(toy, "GET", "/v1/shelves/top%20left/books/a%2Fb+c");
    expect(body).toMatchObject({ shelf_name: "top left", title: "a/b+c" });
  });

  test("read nested fields, lists, booleans, enums, long numbers and bytes from the query", async () => {
    const query =
      "author.name=Sappho&author.born_in=-630&tags=a&tags=b&lent=true&genre=1&isbn=9007199254740993&cover=AQI";
    const { body } = await send(toy, "GET", `/v1/shelves/s/books/t?${query}`);
    expect(body).toMatchObject({
      author: { name: "Sappho", born_in: -630 },
      tags: ["a", "b"],
      lent: true,
      genre: "GENRE_POETRY",
      isbn: "9007199254740993",
      cover: "AQI=",
    });
  });

  test("take an enum by its name, and ignore what names no field", async () => {
    const { body } = await send(
      toy,
      "GET",
      "/v1/shelves/s/books/t?genre=GENRE_POETRY&nothing=1&title.x=1&__proto__.x=1",
    );
    expect(body).toMatchObject({ genre: "GENRE_POETRY" });
  });

  test("let a path variable overrule the query and the body", async () => {
    const get = await send(toy, "GET", "/v1/shelves/s/books/t?title=other&shelfName=other");
    expect(get.body).toMatchObject({ shelf_name: "s", title: "t" });
    const put = await send(toy, "PUT", "/v1/shelves/s/books/t", json({ shelfName: "other", title: "other", pages: 3 }));
    expect(put.body).toMatchObject({ shelf_name: "s", title: "t", pages: 3 });
  });

  test("match a verb after a colon", async () => {
    const { body } = await send(toy, "GET", "/v1/authors/Sappho:find");
    expect(body).toMatchObject({ author: { name: "Sappho" } });
    expect((await send(toy, "GET", "/v1/authors/Sappho")).status).toBe(404);
  });

  test("match several segments, in which an encoded slash stays encoded", async () => {
    const { body } = await send(toy, "GET", "/v1/paths/a/b%20c/d%2fe");
    expect(body).toMatchObject({ title: "a/b c/d%2fe" });
    expect((await send(toy, "GET", "/v1/rooms/1/shelves")).body).toMatchObject({ shelf_name: "rooms/1/shelves" });
    expect((await send(toy, "GET", "/v1/rooms/1/2/shelves")).status).toBe(404);
  });

  test("take the body for one field", async () => {
    const { body } = await send(toy, "PATCH", "/v1/books/t/author?pages=9", json({ name: "Sappho" }));
    expect(body).toMatchObject({ title: "t", pages: 9, author: { name: "Sappho" } });
    const wrong = await send(toy, "PATCH", "/v1/books/t/author", json([1]));
    expect(failureIn(wrong.body)).toMatchObject({
      reason: ErrorReason.INVALID_REQUEST,
      message: "author: must be the JSON of library.v1.Author, and be given once.",
    });
  });

  test("serve verbs of their own, and list all verbs of a path", async () => {
    expect((await send(toy, "GET", "/v1/books")).headers.get("allow")).toBe("BURN");
    const both = await send(toy, "DELETE", "/v1/shelves/s/books/t");
    expect([both.status, both.headers.get("allow")]).toEqual([405, "GET, HEAD, PUT"]);
  });

  test("refuse a key that comes twice, with or without variables in the path", async () => {
    const { status, body } = await send(toy, "PUT", "/v1/shelves/s/books/t", json('{"pages":1,"pages":2}'));
    expect([status, failureIn(body).reason]).toEqual([400, ErrorReason.INVALID_REQUEST]);
  });
});

test("an option that is not supported stops the start", async () => {
  const rule = { pattern: { case: "get" as const, value: "/v1/x" }, responseBody: "title" };
  await expect(startToy({ services: [libraryService({ Get: rule })], routes: () => undefined })).rejects.toThrow(
    "library.v1.Library.Get: response_body is not supported",
  );
});
