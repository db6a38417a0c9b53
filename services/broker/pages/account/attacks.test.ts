import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { accountCookieOf, arriveAtPage } from "../../testing/account-page.ts";
import { mailedToken, postForm, signIn, startTestBroker, type TestBroker } from "../../testing/broker.ts";
import { createTestBrowser } from "../../testing/browser.ts";
import { CHROMIUM, hasChromium, launchChromium } from "../../testing/chromium.ts";

/** A server of somebody else's on this machine, that shows whatever page it is told to. */
async function startStranger(): Promise<{ server: Server; port: number; page: string }> {
  const stranger = { page: "" };
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html" }).end(stranger.page);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(stranger, { server, port: (server.address() as AddressInfo).port });
}

describe.skipIf(!hasChromium)(`somebody else's page (skipped where ${CHROMIUM} is missing)`, () => {
  let broker: TestBroker;
  let browser: Browser;
  let stranger: Awaited<ReturnType<typeof startStranger>>;
  let context: BrowserContext;
  let page: Page;
  // One victim for all: who is attacked in vain has lost nothing.
  const email = "victim@example.com";
  beforeAll(async () => {
    [broker, browser, stranger] = await Promise.all([startTestBroker(), launchChromium(), startStranger()]);
    await signIn(broker, email);
    context = await browser.newContext();
    await arriveAtPage(broker, await context.newPage(), email);
  });
  afterAll(async () => {
    await browser.close();
    await broker.close();
    stranger.server.close();
  });

  beforeEach(async () => {
    page = await context.newPage();
  });
  afterEach(() => page.close());

  /** On another port of the same host (the same site, whose cookies come along), and on another host (another site). */
  const places = ["127.0.0.1", "localhost"];
  const open = async (host: string, markup: string): Promise<void> => {
    stranger.page = `<!doctype html><html lang="en"><title>x</title>${markup}</html>`;
    await page.goto(`http://${host}:${stranger.port}/`);
  };
  const liveSessions = (): number => {
    const anchor = `(SELECT anchor FROM identity WHERE value = '${email}')`;
    return broker.rows(`SELECT 1 FROM session WHERE anchor = ${anchor} AND revoked_at IS NULL`).length;
  };
  const logins = (): number => broker.rows("SELECT 1 FROM login").length;

  test.each(places)("on %s that sends our forms changes nothing", async (host) => {
    const fields = `<input name="form" value="x"><input name="way" value="email"><input name="email" value="eve@example.com">`;
    const before = { sessions: liveSessions(), logins: logins() };
    for (const path of ["sign-out", "end-others", "unfreeze", "link", "collect", "prove"]) {
      const action = `${broker.url}/account/${path}`;
      await open(host, `<form method="post" action="${action}">${fields}<button>Win a prize</button></form>`);
      await page.getByRole("button").click();
      await page.getByRole("heading", { name: "Not from here" }).waitFor();
      expect({ sessions: liveSessions(), logins: logins() }).toEqual(before);
    }
    await page.goto(`${broker.url}/account`);
    await page.getByRole("button", { name: "Sign out" }).waitFor();
  });

  test.each(places)("on %s signs nobody in to somebody else's account", async (host) => {
    const before = await accountCookieOf(context);
    await open(
      host,
      `<form method="post" action="${broker.url}/account/sign-in"><input name="way" value="email">
       <input name="email" value="eve@example.com"><button>Win a prize</button></form>`,
    );
    await page.getByRole("button").click();
    await page.getByRole("heading", { name: "Not from here" }).waitFor();
    expect(broker.devMailbox?.list().some(({ to }) => to === "eve@example.com")).toBe(false);
    expect(await accountCookieOf(context)).toBe(before);
  });

  test.each(places)("on %s reads nothing of ours by script, and sends nothing that counts", async (host) => {
    const before = liveSessions();
    await open(host, "<p>Hello</p>");
    const outcomes = await page.evaluate(async (url) => {
      const attempt = async (path: string, init: RequestInit): Promise<string> => {
        try {
          const response = await fetch(url + path, { credentials: "include", ...init });
          return response.type === "opaque" ? "opaque" : await response.text();
        } catch {
          return "blocked";
        }
      };
      const body = new URLSearchParams({ form: "x" });
      return [
        await attempt("/account", {}),
        await attempt("/account", { mode: "no-cors" }),
        await attempt("/account/sign-out", { method: "POST", body }),
        await attempt("/account/sign-out", { method: "POST", body, mode: "no-cors" }),
      ];
    }, broker.url);
    for (const outcome of outcomes) expect(["opaque", "blocked"]).toContain(outcome);
    expect(liveSessions()).toBe(before);
  });

  test.each(places)("on %s cannot put ours into a frame, to have its buttons pressed unseen", async (host) => {
    await open(host, `<iframe src="${broker.url}/account" width="800" height="800"></iframe>`);
    const frame = page.frames()[1];
    await frame?.waitForURL(/^chrome-error:/);
    expect(await frame?.getByRole("button").count()).toBe(0);
  });

  test.each(places)("on %s keeps no hold of a window that it opened on ours", async (host) => {
    await open(host, `<button onclick="w = window.open('${broker.url}/account')">Open</button>`);
    const [popup] = await Promise.all([context.waitForEvent("page"), page.getByRole("button").click()]);
    await popup.getByRole("heading", { name: "Your account" }).waitFor();
    expect(await page.evaluate(() => (globalThis as unknown as { w: Window }).w.closed)).toBe(true);
  });

  test("may link to ours, which knows who is signed in all the same", async () => {
    await open("localhost", `<a href="${broker.url}/account?done=merged">Your account</a>`);
    await page.getByRole("link").click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    // What the stranger's link said beside the path is not shown as ours.
    expect(page.url()).toBe(`${broker.url}/account`);
    expect(await page.getByRole("status").count()).toBe(0);
  });

  test("cannot have us send a person who proves anew anywhere else", async () => {
    broker.pass(20 * 60_000);
    for (const then of [
      "https://evil.example/",
      "//evil.example",
      "/account/../login",
      "/account/end/x",
      "javascript:x",
    ]) {
      await page.goto(`${broker.url}/account/prove?then=${encodeURIComponent(then)}`);
      expect(await page.locator('input[name="then"]').first().inputValue()).toBe("/account");
    }
  });
});

describe("a form of a signed-in browser", () => {
  let broker: TestBroker;
  beforeAll(async () => {
    broker = await startTestBroker();
  });
  afterAll(() => broker.close());

  /** Signs in over HTTP: the cookie, and the token that its pages carry. */
  async function session(email: string): Promise<{ cookie: string; form: string }> {
    const visitor = createTestBrowser();
    await visitor.go(`${broker.url}/account`);
    await visitor.submit("/account/sign-in", { email });
    await postForm(broker, "confirm", mailedToken(broker, email));
    await visitor.go(visitor.url);
    await visitor.submit("/account/collect");
    const form = /name="form" value="([^"]+)"/.exec(visitor.html)?.[1] ?? "";
    return { cookie: `__Host-agentkeys-account=${visitor.cookie("__Host-agentkeys-account") ?? ""}`, form };
  }
  const own = { "sec-fetch-site": "same-origin" };
  const signOut = (
    cookie: string,
    fields: Record<string, string>,
    headers: Record<string, string>,
  ): Promise<Response> =>
    fetch(`${broker.url}/account/sign-out`, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: { cookie, ...headers },
      redirect: "manual",
    });

  test.each([
    [{ "sec-fetch-site": "cross-site" }],
    [{ "sec-fetch-site": "same-site" }],
    [{ "sec-fetch-site": "none" }],
    [{ origin: "https://evil.example" }],
    [{ origin: "null" }],
    [{ origin: "http://127.0.0.1:1" }],
    [{}],
  ])(
    "needs a sign that it comes from a page of ours, its token notwithstanding: %j",
    async (headers: Record<string, string>) => {
      const { cookie, form } = await session("ada@example.com");
      expect((await signOut(cookie, { form }, headers)).status).toBe(403);
      expect((await signOut(cookie, { form }, own)).status).toBe(303);
    },
  );

  test("needs the token of its own session's pages, its origin notwithstanding", async () => {
    const [ada, eve] = [await session("ada@example.com"), await session("eve@example.com")];
    for (const form of [undefined, "", "x", eve.form, ada.form.toLowerCase(), `${ada.form}x`]) {
      const response = await signOut(ada.cookie, form === undefined ? {} : { form }, own);
      expect(response.status).toBe(403);
    }
    expect((await signOut(ada.cookie, { form: ada.form }, own)).status).toBe(303);
  });
});
