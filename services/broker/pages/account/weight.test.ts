import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type AccountHouse, openAccountHouse, arriveAtPage } from "../../testing/account-page.ts";
import { signIn, walletSession } from "../../testing/broker.ts";
import { CHROMIUM, hasChromium, launchChromium } from "../../testing/chromium.ts";

describe.skipIf(!hasChromium)(`the account page of a typical person (skipped where ${CHROMIUM} is missing)`, () => {
  let house: AccountHouse;
  let browser: Browser;
  beforeAll(async () => {
    [house, browser] = await Promise.all([openAccountHouse(), launchChromium()]);
  });
  afterAll(async () => {
    await browser.close();
    await house.close();
  });

  test("is under 60 kB in all, needs one request to be seen, and asks nobody but us", async () => {
    const { broker } = house;
    const email = "ada@example.com";
    for (let machines = 0; machines < 5; machines++) await walletSession(broker, await signIn(broker, email));
    const page = await browser.newPage();
    await arriveAtPage(broker, page, email);

    const requests: string[] = [];
    page.on("request", (request) => requests.push(request.url()));
    const sizes: Promise<number>[] = [];
    page.on("response", (response) => sizes.push(response.body().then((body) => body.byteLength)));
    await page.goto(`${broker.url}/account`, { waitUntil: "networkidle" });
    const bytes = (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
    expect(bytes).toBeGreaterThan(10_000);
    expect(bytes).toBeLessThan(60_000);
    for (const url of requests) expect(new URL(url).origin).toBe(broker.url);

    // Everything that was asked for before the first thing was seen.
    const seen = await page.evaluate(() => {
      const [paint] = performance.getEntriesByName("first-contentful-paint");
      const before = performance
        .getEntriesByType("resource")
        .filter(({ startTime }) => startTime < (paint?.startTime ?? 0));
      return { painted: paint !== undefined, before: before.map(({ name }) => name) };
    });
    expect(seen).toEqual({ painted: true, before: [] });
    // It looks as it should although it loaded nothing: the policy let its style through.
    const look = await page
      .locator(".card")
      .first()
      .evaluate((card) => getComputedStyle(card).borderRadius);
    expect(look).toBe("16px");
    await page.close();
  });
});
