import { existsSync } from "node:fs";

import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";

import { reasonOf, signIn, startTestBroker, type TestBroker, testWallet, walletSession } from "../testing/broker.ts";
import { injectWallet } from "../testing/injected-wallet.ts";

const CHROMIUM = "/usr/bin/chromium";
const OFFLINE = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"];

describe.skipIf(!existsSync(CHROMIUM))(
  `signing in with a wallet in a real browser (skipped where ${CHROMIUM} is missing)`,
  () => {
    let broker: TestBroker;
    let browser: Browser;
    beforeAll(async () => {
      broker = await startTestBroker();
      browser = await chromium.launch({
        executablePath: CHROMIUM,
        args: ["--no-sandbox", "--disable-gpu", ...OFFLINE],
      });
    });
    afterAll(async () => {
      await browser.close();
      await broker.close();
    });

    async function start(purpose = LoginPurpose.SIGN_IN, deviceName = "ada's laptop") {
      const { login } = broker.clients();
      const started = await login.startWalletLogin({ deviceName, purpose });
      const held = { loginId: started.loginId, loginSecret: started.loginSecret };
      return { ...started, collect: () => login.awaitLogin(held, { timeoutMs: 1200 }) };
    }

    /** In a phone's width; what is wider, what the browser complains of, and what is asked of anybody else fails the test. */
    async function browse(visit: (page: Page) => Promise<void>, { javaScriptEnabled = true } = {}): Promise<void> {
      const context = await browser.newContext({ javaScriptEnabled, viewport: { width: 360, height: 740 } });
      const page = await context.newPage();
      const [complaints, strangers]: [string[], string[]] = [[], []];
      page.on("console", (message) => complaints.push(message.text()));
      page.on("pageerror", (error) => complaints.push(error.message));
      page.on("request", (request) => {
        if (new URL(request.url()).origin !== broker.url) strangers.push(request.url());
      });
      await visit(page);
      // A page that says what was wrong with the last try is a 400, which the console tells of.
      expect(complaints.filter((each) => !each.includes("status of 400"))).toEqual([]);
      expect(strangers).toEqual([]);
      await context.close();
    }

    const noWider = async (page: Page): Promise<void> => {
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    };

    async function open(page: Page, login: { pageUrl: string; userCode: string }): Promise<void> {
      await page.goto(login.pageUrl);
      await page.waitForURL("**/login/review");
      await page.getByText(login.userCode).waitFor();
      await noWider(page);
    }

    test("the wallet is connected, shows the text with the code, signs it, and the machine is signed in", async () => {
      const login = await start();
      await browse(async (page) => {
        const wallet = await injectWallet(page);
        await open(page, login);
        // Nothing is asked of a wallet before the person presses.
        expect(wallet.asked).toEqual([]);
        await page.getByRole("button", { name: "Connect wallet" }).click();
        await page.getByRole("heading", { name: "Signed in" }).waitFor();
        await noWider(page);
        expect(wallet.signed).toHaveLength(1);
        expect(wallet.signed[0]).toContain(login.userCode);
        expect(wallet.signed[0]).toContain("on the machine 'adas laptop'");
        expect((await login.collect()).identity?.value).toBe(wallet.address.toLowerCase());
      });
    });

    test("of several wallets the person chooses one by its name, which is text whatever it says", async () => {
      const login = await start();
      await browse(async (page) => {
        await injectWallet(page, { announce: "<img src=x onerror=alert(1)>\u202e" });
        const chosen = await injectWallet(page, { announce: "Good Wallet" });
        await open(page, login);
        expect(await page.getByRole("button", { name: /^Connect/ }).allTextContents()).toEqual([
          "Connect <img src=x onerror=alert(1)>",
          "Connect Good Wallet",
        ]);
        expect(await page.locator("img").count()).toBe(0);
        await page.getByRole("button", { name: "Connect Good Wallet" }).click();
        await page.getByRole("heading", { name: "Signed in" }).waitFor();
        expect((await login.collect()).identity?.value).toBe(chosen.address.toLowerCase());
      });
    });

    test("who says no in the wallet is told so, and can try again", async () => {
      const login = await start();
      await browse(async (page) => {
        const wallet = await injectWallet(page);
        wallet.person = "refuses";
        await open(page, login);
        const connect = page.getByRole("button", { name: "Connect wallet" });
        await connect.click();
        await page.getByText("You said no in the wallet").waitFor();
        wallet.person = "agrees";
        // Connects, and then refuses to sign.
        const asked = page.waitForURL("**/login/wallet/challenge");
        await connect.click();
        wallet.person = "refuses";
        await asked;
        await page.getByText("You said no in the wallet").waitFor();
        await noWider(page);
        expect(await reasonOf(login.collect())).toBe("LOGIN_PENDING");
        wallet.person = "agrees";
        await page.getByRole("button", { name: "Sign with wallet" }).click();
        await page.getByRole("heading", { name: "Signed in" }).waitFor();
      });
    });

    test("a signature by another account of the wallet is none, and one that is changed to is pointed out", async () => {
      const login = await start();
      await browse(async (page) => {
        const wallet = await injectWallet(page);
        wallet.person = "uses the other account";
        await open(page, login);
        await page.getByRole("button", { name: "Connect wallet" }).click();
        await page.getByText("not made by the challenged address").waitFor();
        expect(await reasonOf(login.collect())).toBe("LOGIN_PENDING");
        await wallet.changeAccount(page, wallet.otherAddress);
        await page.getByText(`Your wallet is at ${wallet.otherAddress} now`).waitFor();
        await wallet.changeAccount(page, undefined);
        await page.getByText("Your wallet is at no account now").waitFor();
        await noWider(page);
        await wallet.changeAccount(page, wallet.address);
        wallet.person = "agrees";
        await page.getByRole("button", { name: "Sign with wallet" }).click();
        await page.getByRole("heading", { name: "Signed in" }).waitFor();
      });
    });

    test("an address that is the wallet of an account is refused in words, and another one can be used", async () => {
      const { wallet } = await walletSession(broker, await signIn(broker, "ada@example.com"));
      const login = await start();
      await browse(async (page) => {
        await open(page, login);
        await page.getByText("This browser seems to have no wallet").waitFor();
        await page.getByLabel("Address of the wallet").fill(wallet.address);
        await page.getByRole("button", { name: "Show what to sign" }).click();
        await page.getByText("a key service signs for").waitFor();
        await page.getByLabel("Address of the wallet").fill("0x1234");
        await page.getByRole("button", { name: "Show what to sign" }).click();
        await page.getByText("Address must be 0x and 40 hex characters").waitFor();
        await noWider(page);
      });
    });

    test("can be refused on both pages, which ends it", async () => {
      for (const at of ["review", "challenge"]) {
        const login = await start();
        await browse(async (page) => {
          await open(page, login);
          if (at === "challenge") {
            await page.getByLabel("Address of the wallet").fill(testWallet().address);
            await page.getByRole("button", { name: "Show what to sign" }).click();
            await page.getByText("Sign this with your wallet").waitFor();
          }
          await page.getByRole("button", { name: "No, this is not me" }).click();
          await page.getByRole("heading", { name: "Refused" }).waitFor();
        });
        expect(await reasonOf(login.collect())).toBe("LOGIN_REFUSED");
      }
    });

    test.each([
      [LoginPurpose.SIGN_IN, "short-lived AWS credentials"],
      [LoginPurpose.LINK, "Signing links it, or lets them merge the account that it has."],
      [LoginPurpose.STEP_UP, "Signing lets whoever started this link identities and take them off"],
    ])(
      "says what it is for (%i), and works without JavaScript, with a signature that is pasted",
      async (purpose, words) => {
        const login = await start(purpose);
        const wallet = testWallet();
        await browse(
          async (page) => {
            await page.goto(`${broker.url}/login`);
            await page.getByLabel("Link").fill(login.pageUrl);
            await page.getByRole("button").click();
            await page.getByText(login.userCode).waitFor();
            await page.getByText(words).waitFor();
            await noWider(page);
            await page.getByLabel("Address of the wallet").fill(` ${wallet.address} `);
            await page.getByRole("button", { name: "Show what to sign" }).click();
            const message = (await page.locator("#message").textContent()) ?? "";
            await noWider(page);
            await page.getByLabel("Signature").fill("0x1234");
            await page.getByRole("button", { name: "Send the signature" }).click();
            await page.getByText("That is no signature").waitFor();
            await page.getByLabel("Signature").fill(`${await wallet.sign(message)}\n`);
            await page.getByRole("button", { name: "Send the signature" }).click();
            await page
              .getByRole("heading", { name: purpose === LoginPurpose.SIGN_IN ? "Signed in" : "Confirmed" })
              .waitFor();
            await noWider(page);
          },
          { javaScriptEnabled: false },
        );
        if (purpose === LoginPurpose.SIGN_IN) expect((await login.collect()).identity?.value).toBe(wallet.address);
      },
    );

    test("a form of another site, another sign-in's text and a link that was used change nothing", async () => {
      const login = await start();
      const token = login.pageUrl.split("#")[1] ?? "";
      const wallet = testWallet();
      const post = async (step: string, form: Record<string, string>, site = "same-origin") => {
        const headers = { "sec-fetch-site": site };
        const body = new URLSearchParams({ token, ...form });
        return fetch(`${broker.url}/login/wallet/${step}`, { method: "POST", body, headers });
      };
      for (const step of ["challenge", "verify"]) {
        expect((await post(step, { address: wallet.address }, "cross-site")).status).toBe(403);
        expect((await post(step, { token: "A".repeat(43) })).status).toBe(404);
        expect((await post(step, { address: "0x".padEnd(20_000, "a") })).status).toBe(413);
      }
      const other = await broker.clients().broker.startWalletAuth({ address: wallet.address });
      const foreign = { request_id: other.requestId, signature: await wallet.sign(other.siweMessage) };
      expect((await post("verify", foreign)).status).toBe(404);
      expect(await reasonOf(login.collect())).toBe("LOGIN_PENDING");
      await fetch(`${broker.url}/login/refuse`, {
        method: "POST",
        body: new URLSearchParams({ token }),
        headers: { "sec-fetch-site": "same-origin" },
      });
      expect((await post("challenge", { address: wallet.address })).status).toBe(410);
    });
  },
);
