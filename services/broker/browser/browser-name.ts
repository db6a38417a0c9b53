import { type DeviceName, parseDeviceName } from "../login/index.ts";

/** The order matters: most browsers claim to be some of those that come after them. */
const browsers = [
  ["Edge", /\bEdg(?:e|A|iOS)?\//],
  ["Opera", /\bOPR\//],
  ["Samsung Internet", /\bSamsungBrowser\//],
  ["Firefox", /\b(?:Firefox|FxiOS)\//],
  ["Chrome", /\b(?:Chrome|Chromium|CriOS|HeadlessChrome)\//],
  ["Safari", /\bSafari\//],
] as const;

const systems = [
  ["iPhone", /\biPhone\b/],
  ["iPad", /\biPad\b/],
  ["Android", /\bAndroid\b/],
  ["ChromeOS", /\bCrOS\b/],
  ["Windows", /\bWindows\b/],
  ["Mac", /\bMacintosh\b/],
  ["Linux", /\bLinux\b/],
] as const;

/** What a browser is called for people, from its User-Agent header, of which nothing is repeated: `Firefox on Linux`. */
export function browserName(userAgent: string): DeviceName {
  const named = (list: typeof browsers | typeof systems): string | undefined =>
    list.find(([, pattern]) => pattern.test(userAgent))?.[0];
  const system = named(systems);
  return parseDeviceName(`${named(browsers) ?? "A browser"}${system === undefined ? "" : ` on ${system}`}`);
}
