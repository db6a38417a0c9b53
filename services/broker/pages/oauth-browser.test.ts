import { existsSync } from "node:fs";

import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { Secret } from "@agentkeys/lib/secret";

import { reasonOf, startTestBroker, type TestBroker } from "../testing/broker.ts";
import { startTestProvider, type TestProvider } from "../testing/identity-provider.ts";

const CHROMIUM = "/usr/bin/chromium";
const OFFLINE = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];

describe.skipIf(!existsSync(CHROMIUM))(
  `signing in at a provider in a real browser (skipped where ${CHROMIUM} is missing)`,
  () => {
    let provider: TestProvider;
    let broker: TestBroker;
    let browser: Browser;
    beforeAll(async () => {
      provider = await startTestProvider();
      const { issuer: url, clientId, clientSecret } = provider;
      const corp = {
        kind: "oidc",
        name: "corp",
        title: "Example Corp",
        url,
        clientId,
        clientSecret: new Secret(clientSecret),
      } as const;
      broker = await startTestBroker({ settings: { providers: [corp] } });
      provider.allowRedirect(`${broker.url}/login/callback/corp`);
      browser = await chromium.launch({
        executablePath: CHROMIUM,
        args: ["--no-sandbox", "--disable-gpu", ...OFFLINE],
      });
    });
    afterAll(async () => {
      await browser.close();
      await broker.close();
      await provider.close();
    });

    async function start() {
      const { login } = broker.clients();
      const started = await login.startOauthLogin({ provider: "corp", deviceName: "ada's laptop" });
      const { loginId, loginSecret } = started;
      return { ...started, collect: () => login.awaitLogin({ loginId, loginSecret }, { timeoutMs: 1200 }) };
    }

    /** In a phone's width; what loads from anywhere else than the broker and the provider fails the test. */
    async function browse(javaScriptEnabled: boolean, visit: (page: Page) => Promise<void>): Promise<void> {
      const context = await browser.newContext({ javaScriptEnabled, viewport: { width: 360, height: 740 } });
      const page = await context.newPage();
      const strangers: string[] = [];
      // The provider's own page is not ours to judge.
      page.on("request", (request) => {
        const from = new URL(request.frame().url() === "" ? request.url() : request.frame().url()).origin;
        const to = new URL(request.url()).origin;
        if (from === broker.url && ![broker.url, provider.issuer].includes(to)) strangers.push(request.url());
      });
      await visit(page);
      expect(strangers).toEqual([]);
      await context.close();
    }

    const noWider = async (page: Page): Promise<void> => {
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    };

    async function logIn(page: Page, name: string): Promise<void> {
      await page.locator('input[name="login"]').fill(name);
      await page.locator('button[type="submit"]').click();
      await page.waitForLoadState();
      await page.locator('button[type="submit"]').click();
      await page.waitForURL(/\/login\/returned\//);
    }

    for (const script of [true, false]) {
      test(`with two presses of ours, ${script ? "with" : "without"} JavaScript on our pages`, async () => {
        const login = await start();
        await browse(script, async (page) => {
          if (script) await page.goto(login.authorizationUrl);
          else {
            await page.goto(`${broker.url}/login`);
            await page.getByLabel("Link").fill(login.authorizationUrl);
            await page.getByRole("button").click();
          }
          await page.waitForURL("**/login/review");
          await page.getByText(login.userCode).waitFor();
          await noWider(page);
          await page.getByRole("button", { name: "Yes, go on to Example Corp" }).click();
          await page.waitForURL(`${provider.issuer}/**`);
          await logIn(page, "ada");
          expect(page.url()).not.toContain("code=");
          await page.getByText(login.userCode).waitFor();
          await noWider(page);
          await page.getByRole("button", { name: "Yes, sign it in" }).click();
          await page.getByRole("heading", { name: "Signed in" }).waitFor();
        });
        expect((await login.collect()).identity?.value).toBe(`${provider.issuer}|ada`);
      });
    }

    test("going back after the decision and pressing again changes nothing", async () => {
      const login = await start();
      await browse(true, async (page) => {
        await page.goto(login.authorizationUrl);
        await page.waitForURL("**/login/review");
        await page.getByRole("button", { name: "Yes, go on to Example Corp" }).click();
        await page.waitForURL(`${provider.issuer}/**`);
        await logIn(page, "ada");
        const returned = page.url();
        await page.getByRole("button", { name: "No, this is not me" }).click();
        await page.getByRole("heading", { name: "Refused" }).waitFor();
        await page.goto(returned);
        await page.getByText("was refused").first().waitFor();
      });
      expect(await reasonOf(login.collect())).toBe("LOGIN_REFUSED");
    });
  },
);
