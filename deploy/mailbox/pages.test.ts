import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

import type { AxeResults } from "axe-core";
import { createTransport } from "nodemailer";
import { chromium } from "playwright-core";
import { expect, test } from "vitest";

import { createLog } from "@agentkeys/lib/log";

import { startMailbox } from "./start.ts";

const CHROMIUM = "/usr/bin/chromium";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

test.skipIf(!existsSync(CHROMIUM))(
  `axe finds nothing on the mailbox, a phone of 360 pixels shows it whole, and it loads nothing (skipped where ${CHROMIUM} is missing)`,
  async () => {
    const anywhere = { host: "127.0.0.1", port: 0 };
    const log = createLog("mailbox", { level: "silent" });
    const mailbox = await startMailbox({ smtpListen: anywhere, listen: anywhere, log });
    const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];
    const browser = await chromium.launch({ executablePath: CHROMIUM, args });
    try {
      const page = await browser.newPage({ viewport: { width: 360, height: 640 } });
      const problems: string[] = [];
      page.on("console", (message) => {
        if (!message.text().startsWith("Failed to load resource")) problems.push(message.text());
      });
      const look = async (path: string): Promise<void> => {
        const requested: string[] = [];
        page.on("request", (request) => requested.push(request.url()));
        await page.goto(mailbox.url + path);
        page.removeAllListeners("request");
        if (requested.length !== 1) problems.push(`${path} loads ${requested.join(" ")}`);
        for (const colorScheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme });
          await page.evaluate(axe);
          const { violations } = await page.evaluate(() => {
            const { axe: loaded } = globalThis as unknown as { axe: { run(): Promise<AxeResults> } };
            return loaded.run();
          });
          for (const { id, nodes } of violations) problems.push(`${path}, ${colorScheme}, ${id}: ${nodes[0]?.html}`);
        }
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        if (width > 360) problems.push(`${path}: ${width} pixels wide`);
      };
      await look("/");
      const transport = createTransport(mailbox.smtpUrl);
      const to = `${"long".repeat(16)}@${"sub-domain.".repeat(12)}example.com`;
      await transport.sendMail({
        from: "b@example.com",
        to,
        subject: "W".repeat(200),
        text: `http://localhost/${"x".repeat(90)}`,
      });
      transport.close();
      for (const path of ["/", "/mails/1", "/mails/2"]) await look(path);
      expect(problems).toEqual([]);
    } finally {
      await browser.close();
      await mailbox.close();
    }
  },
  90_000,
);
