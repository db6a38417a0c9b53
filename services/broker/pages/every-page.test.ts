import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import type { AxeResults, RunOptions } from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { CHROMIUM, hasChromium, launchChromium } from "../testing/chromium.ts";
import { visitEveryPage } from "../testing/every-page.ts";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The schemes differ in nothing but colours. */
const schemes: readonly ["light" | "dark", RunOptions][] = [
  ["light", { resultTypes: ["violations"] }],
  ["dark", { runOnly: ["color-contrast"], resultTypes: ["violations"] }],
];

/** What axe-core finds on a page, as it stands there, a line for each. */
async function findings(page: Page, options: RunOptions): Promise<string[]> {
  const results = await page.evaluate((given) => {
    const { axe: loaded } = globalThis as unknown as { axe: { run(options: RunOptions): Promise<AxeResults> } };
    return loaded.run(given);
  }, options);
  return results.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

describe.skipIf(!hasChromium)(`every page and mail (skipped where ${CHROMIUM} is missing)`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("is one that axe finds nothing on and a phone of 360 pixels shows whole, in light and in dark", async () => {
    const seen: string[] = [];
    const problems: string[] = [];
    const heard = new WeakSet<Page>();
    await visitEveryPage(browser, async (name, page) => {
      seen.push(name);
      if (!heard.has(page)) {
        heard.add(page);
        // What the policy blocks is complained of, as is a script of ours that fails.
        page.on("console", (message) => {
          // A status of 404 is what was asked for.
          if (!message.text().startsWith("Failed to load resource")) problems.push(`console: ${message.text()}`);
        });
        page.on("request", (request) => {
          if (!/^(http:\/\/(127\.0\.0\.1|localhost):|about:)/.test(request.url()))
            problems.push(`asked for ${request.url()}`);
        });
      }
      // Handed over by the debugger, which the page's policy does not bind.
      await page.evaluate(axe);
      for (const [colorScheme, options] of schemes) {
        await page.emulateMedia({ colorScheme });
        problems.push(...(await findings(page, options)).map((finding) => `${name}, ${colorScheme}: ${finding}`));
      }
      await page.setViewportSize({ width: 360, height: 640 });
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      if (width > 360) problems.push(`${name}: ${width} pixels wide`);
      await page.setViewportSize({ width: 1280, height: 720 });
    });
    expect(problems).toEqual([]);
    expect(seen.length).toBeGreaterThan(50);
    expect(new Set(seen).size).toBe(seen.length);
  }, 240_000);
});
