import { existsSync } from "node:fs";

import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { mailedToken, reasonOf, startTestBroker, type TestBroker } from "../testing/broker.ts";

const CHROMIUM = "/usr/bin/chromium";
const OFFLINE = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];

describe.skipIf(!existsSync(CHROMIUM))(`in a real browser (skipped where ${CHROMIUM} is missing)`, () => {
  let broker: TestBroker;
  let browser: Browser;
  beforeAll(async () => {
    broker = await startTestBroker();
    const args = ["--no-sandbox", "--disable-gpu", ...OFFLINE];
    browser = await chromium.launch({ executablePath: CHROMIUM, args });
  });
  afterAll(async () => {
    await browser.close();
    await broker.close();
  });

  /** Runs `visit` in a fresh profile; whatever the browser complains about fails the test. */
  async function browse(visit: (page: Page) => Promise<void>): Promise<void> {
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on("console", (message) => complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(error.message));
      await visit(page);
      expect(complaints).toEqual([]);
    } finally {
      await context.close();
    }
  }

  async function start(email: string) {
    const started = await broker.clients().login.startEmailLogin({ email });
    return { ...started, token: mailedToken(broker, email) };
  }

  test("a scanner that opens the link, runs its scripts and follows every link on the way changes nothing", async () => {
    const { token, loginId, loginSecret, userCode } = await start("scanned@example.com");
    await browse(async (page) => {
      for (let visit = 0; visit < 2; visit++) {
        await page.goto("about:blank");
        await page.goto(`${broker.url}/login#${token}`);
        await page.waitForURL("**/login/review");
        expect(await page.locator("body").innerText()).toContain(userCode);
        for (const href of await page
          .locator("a")
          .evaluateAll((links) => links.map((a) => (a as HTMLAnchorElement).href))) {
          await page.goto(href);
        }
      }
    });
    const waiting = broker.clients().login.awaitLogin({ loginId, loginSecret }, { timeoutMs: 900 });
    expect(await reasonOf(waiting)).toBe("LOGIN_PENDING");
  });

  test("the link's secret is in no address that the browser keeps or sends", async () => {
    const { token } = await start("history@example.com");
    await browse(async (page) => {
      const requested: string[] = [];
      page.on("request", (request) => requested.push(request.url(), request.headers()["referer"] ?? ""));
      await page.goto(`${broker.url}/login#${token}`);
      await page.waitForURL("**/login/review");
      expect(page.url()).toBe(`${broker.url}/login/review`);
      await page.goBack();
      expect(page.url()).not.toContain(token);
      expect(requested.slice(1).join(" ")).not.toContain(token);
    });
  });

  test("the link's secret leaves the address bar before anything else is asked for", async () => {
    const { token } = await start("address-bar@example.com");
    await browse(async (page) => {
      const asked = new Promise((resolve) => {
        void page.route("**/login/review", (route) => {
          resolve({ address: page.url(), sent: route.request().postData() });
          return route.fulfill({ status: 204 });
        });
      });
      await page.goto(`${broker.url}/login#${token}`, { waitUntil: "commit" });
      expect(await asked).toEqual({ address: `${broker.url}/login`, sent: `link=${token}` });
    });
  });

  test("the two buttons can be reached and pressed with the keyboard", async () => {
    const { token, loginId, loginSecret } = await start("keyboard@example.com");
    await browse(async (page) => {
      await page.goto(`${broker.url}/login#${token}`);
      await page.waitForURL("**/login/review");
      const focused = () => page.evaluate(() => document.activeElement?.textContent.trim());
      const reached: (string | undefined)[] = [];
      for (let i = 0; i < 3; i++) {
        await page.keyboard.press("Tab");
        reached.push(await focused());
      }
      expect(reached).toEqual(["AgentKeys", "Yes, sign it in", "No, this is not me"]);
      await page.keyboard.press("Shift+Tab");
      await page.keyboard.press("Enter");
      await page.waitForURL("**/login/confirm");
    });
    expect((await broker.clients().login.awaitLogin({ loginId, loginSecret })).identity?.value).toBe(
      "keyboard@example.com",
    );
  });

  test("nothing is wider than a phone of 360 pixels, in light and in dark", async () => {
    const email = `${"long".repeat(16)}@${"sub-domain.".repeat(12)}example.com`;
    await broker.clients().login.startEmailLogin({ email, deviceName: "W".repeat(64) });
    const token = mailedToken(broker, email);
    await browse(async (page) => {
      await page.setViewportSize({ width: 360, height: 640 });
      for (const colorScheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme });
        for (const path of ["/", "/login", "/dev/mailbox", `/login#${token}`]) {
          await page.goto("about:blank");
          await page.goto(broker.url + path);
          if (path.includes("#")) await page.waitForURL("**/login/review");
          const width = await page.evaluate(() => document.documentElement.scrollWidth);
          expect(width, path).toBeLessThanOrEqual(360);
        }
      }
    });
  });
});
