import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { MINUTE } from "@agentkeys/lib/clock";

import { signInAtPage } from "../../testing/account-page.ts";
import { startTestBroker } from "../../testing/broker.ts";
import { CHROMIUM, hasChromium, launchChromium } from "../../testing/chromium.ts";

describe.skipIf(!hasChromium)(`a passkey at the account page (skipped where ${CHROMIUM} is missing)`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("is made, proves anew who somebody is, and signs in, all in one tab", async () => {
    const broker = await startTestBroker({ named: true });
    const context = await browser.newContext();
    const page = await context.newPage();
    const session = await context.newCDPSession(page);
    await session.send("WebAuthn.enable");
    await session.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2",
        transport: "internal",
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    });
    await signInAtPage(broker, page, "ada@example.com");
    await page.getByRole("link", { name: "Link another" }).click();
    await page.getByRole("button", { name: "Go on with a passkey" }).click();
    await page.getByRole("button", { name: "Go on to a passkey" }).click();
    await page.getByRole("button", { name: "Yes, make a passkey" }).click();
    await page.getByText("Linked: it signs in").waitFor();
    expect(await page.getByRole("region", { name: "Ways to sign in" }).innerText()).toContain("Passkey");

    broker.pass(6 * MINUTE);
    await page.goto(`${broker.url}/account/end-others`);
    await page.getByRole("button", { name: "Go on with Passkey" }).click();
    await page.getByRole("button", { name: "Go on to a passkey" }).click();
    await page.getByRole("button", { name: "Yes, use my passkey" }).click();
    await page.getByRole("heading", { name: "End all others?" }).waitFor();

    await page.goto(`${broker.url}/account`);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: "Go on with a passkey" }).click();
    await page.getByRole("button", { name: "Go on to a passkey" }).click();
    await page.getByRole("button", { name: "Yes, sign in with a passkey" }).click();
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    await context.close();
    await broker.close();
  });
});
