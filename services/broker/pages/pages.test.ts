import { createHash } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { styleSheet } from "@agentkeys/lib/look/style-sheet";

import { mailedToken, postForm, startTestBroker, type TestBroker } from "../testing/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startTestBroker();
});
afterAll(() => broker.close());

const titleOf = (page: string): string | undefined => /<h1>(.*?)<\/h1>/s.exec(page)?.[1]?.trim();

describe("every page", () => {
  const pages = ["/", "/login", "/dev/mailbox", "/nowhere", "/login/confirm", "/account", "/assets/login.js"];

  test.each(pages)(
    "%s loads nothing from elsewhere, is framed by nobody and tells nobody where the reader was",
    async (path) => {
      const { headers } = await fetch(broker.url + path, { redirect: "manual" });
      expect(headers.get("content-security-policy")?.split("; ").sort()).toEqual([
        "base-uri 'none'",
        "connect-src 'self'",
        "default-src 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "img-src data:",
        "script-src 'self'",
        `style-src 'sha256-${createHash("sha256").update(styleSheet).digest("base64")}'`,
      ]);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("x-frame-options")).toBe("DENY");
      expect(headers.get("referrer-policy")).toBe("same-origin");
      expect(headers.get("cross-origin-opener-policy")).toBe("same-origin");
    },
  );

  test("that shows something of a sign-in is kept by no cache, nor is one that fails", async () => {
    await broker.clients().login.startEmailLogin({ email: "ada@example.com" });
    const token = mailedToken(broker, "ada@example.com");
    const responses = [
      await fetch(`${broker.url}/login`),
      await fetch(`${broker.url}/dev/mailbox`),
      await postForm(broker, "review", token),
      await postForm(broker, "confirm", token),
      await postForm(broker, "confirm", token),
      await fetch(`${broker.url}/nowhere`),
    ];
    for (const { headers } of responses) expect(headers.get("cache-control")).toBe("no-store");
  });

  test("is answered to HEAD as to GET, without the page", async () => {
    for (const path of ["/", "/login", "/account", "/assets/login.js"]) {
      const response = await fetch(broker.url + path, { method: "HEAD" });
      expect(response.status).toBe(200);
      expect(await response.text()).toBe("");
    }
  });

  test("is HTML that names its language, with one heading, the one style sheet, and scripts of ours only", async () => {
    for (const path of ["/", "/login", "/account", "/nowhere"]) {
      const page = await (await fetch(broker.url + path)).text();
      expect(page).toMatch(/^<!doctype html>\s*<html lang="en">/);
      expect(page.match(/<h1>/g)).toHaveLength(1);
      const loaded = [...page.matchAll(/\b(?:src|href|action)="([^"]*)"/g)].map(([, url]) => url);
      for (const url of loaded) expect(url).toMatch(/^(\/(?!\/)|data:image\/svg\+xml,)/);
      expect(page.match(/<style[^>]*>[^<]*<\/style>/g)).toEqual([`<style>${styleSheet}</style>`]);
      expect(page).not.toMatch(/\son\w+=|\sstyle=|<script>/);
    }
  });

  test("of a broker whose public URL is https is asked for by https from then on", async () => {
    const secure = await startTestBroker({ settings: { publicUrl: "https://broker.localhost" } });
    try {
      expect((await fetch(`${secure.url}/`)).headers.get("strict-transport-security")).toBe("max-age=31536000");
      expect((await fetch(`${broker.url}/`)).headers.get("strict-transport-security")).toBeNull();
    } finally {
      await secure.close();
    }
  });
});

describe("asked for in a way that it does not know", () => {
  test.each([
    ["PUT", "/login", "GET, HEAD"],
    ["POST", "/", "GET, HEAD"],
    ["OPTIONS", "/login", "GET, HEAD"],
    ["DELETE", "/dev/mailbox", "GET, HEAD"],
    ["POST", "/assets/login.js", "GET, HEAD"],
    ["POST", "/account", "GET, HEAD"],
    ["PUT", "/account/collect", "POST, GET, HEAD"],
    ["PUT", "/login/confirm", "POST, GET, HEAD"],
    ["POST", "/.well-known/jwks.json", "GET, HEAD"],
  ])("a page says what it knows: %s %s", async (method, path, allow) => {
    const response = await fetch(broker.url + path, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe(allow);
    expect(titleOf(await response.text())).toBe("Not like that");
  });

  test("a page that is not there is not found, in any way", async () => {
    for (const method of ["GET", "POST", "PUT"]) {
      expect((await fetch(`${broker.url}/nowhere`, { method })).status).toBe(404);
    }
  });
});
