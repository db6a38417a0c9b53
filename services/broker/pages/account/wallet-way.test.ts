import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { MINUTE } from "@agentkeys/lib/clock";

import { type AccountHouse, openAccountHouse, arriveAtPage } from "../../testing/account-page.ts";
import { CHROMIUM, hasChromium, launchChromium } from "../../testing/chromium.ts";
import { injectWallet } from "../../testing/injected-wallet.ts";

describe.skipIf(!hasChromium)(`an own wallet at the account page (skipped where ${CHROMIUM} is missing)`, () => {
  let house: AccountHouse;
  let browser: Browser;
  beforeAll(async () => {
    [house, browser] = await Promise.all([openAccountHouse(), launchChromium()]);
  });
  afterAll(async () => {
    await browser.close();
    await house.close();
  });

  test("is linked, proves anew who somebody is, and signs in, all in one tab", async () => {
    const { broker } = house;
    const context = await browser.newContext();
    const page = await context.newPage();
    const wallet = await injectWallet(page);
    const sign = async (): Promise<void> => {
      await page.getByRole("button", { name: "Go on to your own wallet" }).click();
      await page.getByRole("button", { name: "Connect wallet" }).click();
    };
    await arriveAtPage(broker, page, "ada@example.com");
    await page.getByRole("link", { name: "Link another" }).click();
    await page.getByRole("button", { name: "Go on with your own wallet" }).click();
    await sign();
    await page.getByText("Linked: it signs in").waitFor();
    expect(wallet.signed[0]).toContain("account that the browser 'Chrome on Linux' is signed in to.");
    expect(wallet.signed[0]).toContain("that browser shows the code");
    expect(await page.getByRole("region", { name: "Ways to sign in" }).innerText()).toContain(wallet.address);

    broker.pass(6 * MINUTE);
    await page.goto(`${broker.url}/account/end-others`);
    await page.getByRole("button", { name: `Go on with Own wallet (${wallet.address})` }).click();
    await sign();
    await page.getByRole("heading", { name: "End all others?" }).waitFor();

    await page.goto(`${broker.url}/account`);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: "Go on with your own wallet" }).click();
    await sign();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    expect(await page.getByRole("region", { name: "Ways to sign in" }).innerText()).toContain("ada@example.com");
    await context.close();
  });
});
