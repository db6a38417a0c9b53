import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { MINUTE } from "@agentkeys/lib/clock";

import {
  accountCookieOf,
  type AccountHouse,
  arriveAtPage,
  askForLink,
  confirmElsewhere,
  logInAtProvider,
  openAccountHouse,
  proveAnew,
  signInAtPage,
} from "../../testing/account-page.ts";
import { mailedToken, postForm, signIn, type TestBroker, walletSession } from "../../testing/broker.ts";
import { CHROMIUM, hasChromium, launchChromium } from "../../testing/chromium.ts";

describe.skipIf(!hasChromium)(`the account page in a real browser (skipped where ${CHROMIUM} is missing)`, () => {
  let house: AccountHouse;
  let broker: TestBroker;
  let browser: Browser;
  beforeAll(async () => {
    [house, browser] = await Promise.all([openAccountHouse(), launchChromium()]);
    ({ broker } = house);
  });
  afterAll(async () => {
    await browser.close();
    await house.close();
  });

  let count = 0;
  const newEmail = (): string => `person${++count}@example.com`;
  const go = (page: Page, path: string) => page.goto(broker.url + path);
  const signedIn = (page: Page): Promise<void> => page.getByRole("button", { name: "Sign out" }).waitFor();

  /** Runs `visit` in a profile of its own; what the browser complains of, or asks of anybody else, fails the test. */
  async function browse(
    visit: (page: Page, context: BrowserContext) => Promise<void>,
    { javaScriptEnabled = true } = {},
  ): Promise<void> {
    const context = await browser.newContext({ javaScriptEnabled });
    const problems: string[] = [];
    context.on("page", (page) => {
      page.on("pageerror", (error) => problems.push(error.message));
      page.on("console", (message) => {
        if (!message.text().startsWith("Failed to load resource")) problems.push(message.text());
      });
      page.on("request", (request) => {
        const { origin } = new URL(request.url());
        if (![broker.url, house.provider.issuer].includes(origin)) problems.push(request.url());
      });
    });
    try {
      await visit(await context.newPage(), context);
      expect(problems).toEqual([]);
    } finally {
      await context.close();
    }
  }

  describe.each([
    ["with", true],
    ["without", false],
  ])("%s JavaScript", { timeout: 90_000 }, (_, javaScriptEnabled) => {
    const scripts = { javaScriptEnabled };
    /** Where no script takes it up, the person presses the button, once the page has asked again: by itself, or told to. */
    const goOn = async (page: Page, { byItself = false } = {}): Promise<void> => {
      if (javaScriptEnabled) return;
      if (!byItself) await page.reload();
      await page.getByRole("button", { name: "Go on" }).click();
    };

    test("a person signs in by a mail that is opened in the same browser, and out again", async () => {
      const email = newEmail();
      await browse(async (page, context) => {
        await go(page, "/account");
        await askForLink(page, email);
        const code = await page.locator(".code").innerText();
        const mail = await context.newPage();
        if (javaScriptEnabled) await mail.goto(`${broker.url}/login#${mailedToken(broker, email)}`);
        else {
          await go(mail, "/login");
          await mail.getByLabel("Link").fill(mailedToken(broker, email));
          await mail.getByRole("button").click();
        }
        await mail.getByRole("button", { name: "Yes, sign it in" }).waitFor();
        expect(await mail.locator(".code").innerText()).toBe(code);
        // It is the very browser that started it: nothing to warn of.
        expect(await mail.locator(".note").count()).toBe(0);
        await mail.getByRole("button", { name: "Yes, sign it in" }).click();
        await goOn(page, { byItself: true });
        await signedIn(page);
        expect(await page.locator("body").innerText()).toContain(email);
        await page.getByRole("button", { name: "Sign out" }).click();
        await page.getByText("You are signed out.").waitFor();
        expect(await accountCookieOf(context)).toBeUndefined();
        await page.goBack();
        expect(await page.getByRole("button", { name: "Sign out" }).count()).toBe(0);
      }, scripts);
    });

    test("a person signs in by a mail that is opened on a phone, which says that another browser waits", async () => {
      const email = newEmail();
      await browse(async (page) => {
        await go(page, "/account");
        await askForLink(page, email);
        await browse(async (phone) => {
          await go(phone, "/login");
          await phone.getByLabel("Link").fill(mailedToken(broker, email));
          await phone.getByRole("button").click();
          await phone.getByText("This browser did not start it").waitFor();
          await phone.getByRole("button", { name: "Yes, sign it in" }).click();
          await phone.getByText("go back to the browser that waits").waitFor();
          await go(phone, "/account");
          expect(await phone.getByRole("button", { name: "Sign out" }).count()).toBe(0);
        }, scripts);
        await goOn(page);
        await signedIn(page);
      }, scripts);
    });

    test("a person signs in at a provider, sees the code on both sides of it, and lands on the account page", async () => {
      await browse(async (page) => {
        await go(page, "/account");
        await page.getByRole("button", { name: "Go on with Example Corp" }).click();
        const code = await page.locator(".code").innerText();
        await page.getByRole("button", { name: "Go on to Example Corp" }).click();
        const name = `corp-${javaScriptEnabled}`;
        await logInAtProvider(page, name);
        expect(await page.locator(".code").innerText()).toBe(code);
        await page.getByRole("button", { name: "Yes, sign it in" }).click();
        // The browser is back already at the page that waited.
        await goOn(page, { byItself: true });
        await signedIn(page);
        await page.getByText(`Signed in as ${name}@example.com`).waitFor();
      }, scripts);
    });

    test("a person who signed in long ago proves anew, comes back to the question, and takes an identity off", async () => {
      const [email, other] = [newEmail(), newEmail()];
      await browse(async (page) => {
        await go(page, "/account");
        await askForLink(page, email);
        await confirmElsewhere(broker, email);
        await goOn(page);
        await signedIn(page);
        await page.getByRole("link", { name: "Link another" }).click();
        await askForLink(page, other);
        await confirmElsewhere(broker, other);
        await goOn(page);
        await page.getByText("Linked: it signs in").waitFor();
        broker.pass(6 * MINUTE);
        await page.getByRole("listitem").filter({ hasText: other }).getByRole("link", { name: "Take off" }).click();
        await proveAnew(broker, page, email);
        await goOn(page);
        await page.getByRole("heading", { name: "Take off this way to sign in?" }).waitFor();
        expect(await page.locator("dl").innerText()).toContain(other);
        await page.getByRole("button", { name: "Take it off" }).click();
        await page.getByText("Taken off.").waitFor();
        expect(
          await page.getByRole("listitem").filter({ hasText: "Last used" }).filter({ hasText: other }).count(),
        ).toBe(0);
      }, scripts);
    });
  });

  test("a refusal, by whoever got the mail, is told to the browser that waits", async () => {
    const email = newEmail();
    await browse(async (page, context) => {
      await go(page, "/account");
      await askForLink(page, email);
      await postForm(broker, "refuse", mailedToken(broker, email));
      await page.getByRole("heading", { name: "Refused" }).waitFor();
      expect(await accountCookieOf(context)).toBeUndefined();
    });
  });

  test("a scanner that opens the mail's link first, runs its scripts and follows what it finds, gets nothing and spoils nothing", async () => {
    const email = newEmail();
    await browse(async (page) => {
      await go(page, "/account");
      await askForLink(page, email);
      const link = `${broker.url}/login#${mailedToken(broker, email)}`;
      for (const method of ["GET", "HEAD"]) await fetch(link, { method });
      await browse(async (scanner, context) => {
        await scanner.goto(link);
        await scanner.waitForURL("**/login/review");
        const links = await scanner.locator("a").evaluateAll((all) => all.map((a) => (a as HTMLAnchorElement).href));
        for (const href of links) await scanner.goto(href);
        expect(await accountCookieOf(context)).toBeUndefined();
      });
      expect(await page.getByRole("heading", { name: "Open the mail" }).count()).toBe(1);
      await confirmElsewhere(broker, email);
      await signedIn(page);
    });
  });

  test("two tabs start two sign-ins, and each goes on with its own", async () => {
    const [first, second] = [newEmail(), newEmail()];
    await browse(async (page, context) => {
      const other = await context.newPage();
      await go(page, "/account");
      await go(other, "/account");
      await askForLink(page, first);
      await askForLink(other, second);
      const codes = [await page.locator(".code").innerText(), await other.locator(".code").innerText()];
      expect(codes[0]).not.toBe(codes[1]);
      await confirmElsewhere(broker, first);
      await signedIn(page);
      expect(await page.locator("body").innerText()).toContain(first);
      // The person signs in as somebody else in the other tab: one browser, one person.
      await confirmElsewhere(broker, second);
      await signedIn(other);
      await go(page, "/account");
      expect(await page.locator("body").innerText()).toContain(second);
      expect(await page.locator("body").innerText()).not.toContain(first);
    });
  });

  test("a form that another tab's proof has made too old says so, and changes nothing", async () => {
    const email = newEmail();
    const { clients } = await signIn(broker, email);
    await browse(async (page, context) => {
      await arriveAtPage(broker, page, email);
      await go(page, "/account/end-others");
      const other = await context.newPage();
      await go(other, "/account/prove");
      await proveAnew(broker, other, email);
      await other.getByText("It counts for some minutes").waitFor();
      await page.getByRole("button", { name: "End all others" }).click();
      await page.getByRole("heading", { name: "This page was too old" }).waitFor();
      expect((await clients.account.listSessions({})).sessions).toHaveLength(2);
      await page.goBack();
      await page.reload();
      await page.getByRole("button", { name: "End all others" }).click();
      await page.getByText("Ended, everywhere within 10 seconds.").waitFor();
      await expect(clients.account.whoAmI({})).rejects.toThrow("revoked");
    });
  });

  test("going back to a sign-in that is over, or to a form that was sent, does nothing twice", async () => {
    const email = newEmail();
    await browse(async (page) => {
      await signInAtPage(broker, page, email);
      const logins = () => broker.rows(`SELECT 1 FROM login WHERE identity_value = '${email}'`).length;
      const before = logins();
      await page.goBack();
      await signedIn(page);
      for (const path of ["/account/collect", "/account/sign-in", "/account/sign-out"]) {
        await go(page, path);
        await signedIn(page);
      }
      expect(logins()).toBe(before);
    });
  });

  test("a link that is too old says so, in the mail's browser and in the one that waits", async () => {
    const email = newEmail();
    await browse(async (page) => {
      await go(page, "/account");
      await askForLink(page, email);
      const token = mailedToken(broker, email);
      broker.pass(15 * MINUTE);
      await page.getByRole("heading", { name: "Too late" }).waitFor();
      await page.getByRole("link", { name: "To your account" }).click();
      await page.getByLabel("E-mail address").waitFor();
      await page.goto(`${broker.url}/login#${token}`);
      await page.getByRole("heading", { name: "This link has expired" }).waitFor();
    });
  });

  test("an identity that has an account of its own is merged only once that was shown and agreed to", async () => {
    const [kept, ended] = [newEmail(), newEmail()];
    const [ada, charles] = [await signIn(broker, kept), await signIn(broker, ended)];
    const wallets = [(await walletSession(broker, ada)).wallet, (await walletSession(broker, charles)).wallet];
    await browse(async (page) => {
      await arriveAtPage(broker, page, kept);
      const offer = async (): Promise<void> => {
        await go(page, "/account/link");
        await askForLink(page, ended);
        await confirmElsewhere(broker, ended);
        await page.getByRole("heading", { name: "an account of its own" }).waitFor();
      };
      await offer();
      const text = (await page.locator("main").innerText()).toLowerCase();
      for (const { address } of wallets) expect(text).toContain(address);
      expect(text).toContain(ended);
      // Without the box the browser sends nothing, and the broker would take nothing.
      await page.getByRole("button", { name: "Merge the two accounts" }).click();
      expect(await page.locator(":invalid").count()).toBeGreaterThan(0);
      await page.locator("#merge").evaluate((form) => {
        (form as HTMLFormElement).submit();
      });
      await page.getByRole("heading", { name: "an account of its own" }).waitFor();
      await charles.clients.account.whoAmI({});
      await page.getByRole("button", { name: "No, leave both as they are" }).click();
      await page.getByText("Nothing was merged.").waitFor();
      await charles.clients.account.whoAmI({});

      await offer();
      await page.getByRole("checkbox").check();
      await page.getByRole("button", { name: "Merge the two accounts" }).click();
      await page.getByText("Merged.").waitFor();
      expect(await page.getByRole("region", { name: "Ways to sign in" }).innerText()).toContain(ended);
      await expect(charles.clients.account.whoAmI({})).rejects.toThrow("revoked");
      expect((await ada.clients.account.whoAmI({})).omniAccount).toBe(ada.omniAccount);
    });
  });

  test("a link that took so long that the proof is too old asks for another one, and then links", async () => {
    const [email, other] = [newEmail(), newEmail()];
    await browse(async (page) => {
      await arriveAtPage(broker, page, email);
      await go(page, "/account/link");
      await askForLink(page, other);
      broker.pass(11 * MINUTE);
      await confirmElsewhere(broker, other);
      await proveAnew(broker, page, email);
      await page.getByText("Linked: it signs in").waitFor();
      expect(await page.getByRole("region", { name: "Ways to sign in" }).innerText()).toContain(other);
    });
  });

  test("a proof by somebody else's identity counts for nothing", async () => {
    const email = newEmail();
    await browse(async (page) => {
      await arriveAtPage(broker, page, email);
      await go(page, "/account/link");
      await page.getByRole("button", { name: "Go on with Example Corp" }).click();
      await page.getByRole("button", { name: "Go on to Example Corp" }).click();
      await logInAtProvider(page, "grace");
      await page.getByRole("button", { name: "Yes, link it" }).click();
      await page.getByText("Linked: it signs in").waitFor();
      broker.pass(6 * MINUTE);
      await go(page, "/account/end-others");
      // At the provider nobody is logged in any more.
      await page.context().clearCookies({ name: /^_(?!_)/ });
      await page.getByRole("button", { name: "Go on with Example Corp (grace@example.com)" }).click();
      await page.getByRole("button", { name: "Go on to Example Corp" }).click();
      await logInAtProvider(page, "mallory");
      await page.getByRole("button", { name: "Yes, it is me" }).click();
      await page.getByRole("heading", { name: "Not of this account" }).waitFor();
      await go(page, "/account/end-others");
      await page.getByRole("heading", { name: "Show that it is you" }).waitFor();
    });
  });

  test("the history is told in words, a page at a time, to its end", async () => {
    const email = newEmail();
    const ada = await signIn(broker, email);
    await walletSession(broker, ada);
    for (let i = 0; i < 14; i++) await signIn(broker, email);
    await browse(async (page) => {
      await arriveAtPage(broker, page, email);
      const told: string[] = [];
      for (let pages = 0; pages < 10; pages++) {
        told.push(...(await page.locator(".events > li").allInnerTexts()));
        const older = page.getByRole("link", { name: "Older" });
        if ((await older.count()) === 0) break;
        await older.click();
        await page.waitForURL("**/account/events?before=*");
      }
      const { events } = await ada.clients.account.listEvents({ pageSize: 200 });
      expect(told).toHaveLength(events.length);
      expect(events.length).toBeGreaterThan(8 + 25);
      expect(told.at(-1)).toContain(`A sign-in as ${email} was confirmed`);
    });
  });
});
