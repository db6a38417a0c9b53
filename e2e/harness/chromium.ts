import { existsSync } from "node:fs";

import { type Browser, chromium } from "playwright-core";

import { BUTTONS, type Confirmer, type Visit } from "./confirmer.ts";

const CANDIDATES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome-stable",
  "/usr/bin/google-chrome",
];
/** Nothing that would call home; and no sandbox, which root in a container cannot have. The pages are our own. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** The path of a Chromium that is installed on this machine, if there is one. */
export function findChromium(): string | undefined {
  return CANDIDATES.find((path) => existsSync(path));
}

/**
 * Starts a real browser. Every visit has a fresh profile, as a person who was never here before; what it keeps beside that, it
 * keeps below `home`.
 */
export async function openChromium(
  executablePath: string,
  { home }: { home?: string } = {},
): Promise<Confirmer & { browser: Browser }> {
  // The process that starts the browser ends it, on signals too.
  const browser = await chromium.launch({
    executablePath,
    args: FLAGS,
    ...(home !== undefined && { env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home } }),
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  });
  return {
    browser,
    name: `Chromium ${browser.version()}`,
    confirm: (link) => visit(browser, link, BUTTONS.confirm),
    refuse: (link) => visit(browser, link, BUTTONS.refuse),
    close: () => browser.close(),
  };
}

async function visit(browser: Browser, link: string, buttonName: string): Promise<Visit> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(link);
    // The page's script takes the token out of the link and goes on by itself.
    await page.waitForURL("**/login/review");
    const review = await page.locator("body").innerText();
    const button = page.getByRole("button", { name: new RegExp(`^${buttonName}`) });
    if ((await button.count()) !== 1) throw new Error(`The page shows no button "${buttonName.trim()}": ${review}`);
    await button.click();
    await page.waitForURL((url) => url.pathname !== "/login/review");
    return { review, outcome: await page.locator("body").innerText() };
  } finally {
    await context.close();
  }
}
