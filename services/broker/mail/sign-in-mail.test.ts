import { expect, test } from "vitest";

import { Secret } from "@agentkeys/lib/secret";

import { signInMail } from "./sign-in-mail.ts";

const facts = {
  purpose: "sign-in" as const,
  screen: "terminal" as const,
  email: "ada@example.com",
  userCode: "BCDF-GHJK",
  deviceName: "ada's MacBook (work)",
  sourceAddress: "2001:db8::7",
  createdAt: 0,
  expiresAt: 900_000,
};
const link = "https://broker.example/login#token";
const mailOf = (changes: Partial<typeof facts> = {}) => signInMail({ ...facts, ...changes }, new Secret(link));

test("the mail names the machine as people name theirs", async () => {
  for (const deviceName of ["ada's MacBook (work)", "Büro 3", "計算機-2", "dev_box+1"]) {
    expect((await mailOf({ deviceName })).text).toContain(`  Machine   ${deviceName}\n`);
  }
  expect((await mailOf({ deviceName: "" })).text).toContain("  Machine   a machine without a name\n");
});

test("what a stranger types as the machine's name makes no link of theirs and no address in our mail", async () => {
  for (const deviceName of [
    "https://evil.example/login",
    "evil.example",
    "evil。example",
    "www.evil.example:8080/x?y=z#w",
    "mail eve@evil.example",
    "javascript:alert(1)",
    "[x](http://evil.example)",
    "\\\\evil\\share",
  ]) {
    const { text, html } = await mailOf({ deviceName });
    for (const part of [text, html]) {
      expect(part).not.toMatch(/evil[.。]|@evil|javascript:|\\/);
      expect([...part.matchAll(/[a-z]+:\/\/[^\s"<]+/g)].map(([url]) => url)).toEqual([link]);
    }
  }
});

test("what a stranger types as the machine's name is text in the HTML, and one line in the text", async () => {
  const { text, html } = await mailOf({ deviceName: `<img src=x onerror="alert(1)">&amp;'\r\n\r\nPress here` });
  expect(html).not.toContain("<img");
  expect(html).not.toContain('onerror="');
  expect(text.split("\n")).toHaveLength((await mailOf()).text.split("\n").length);
});

test("the HTML loads nothing and runs nothing", async () => {
  const { html } = await mailOf();
  expect(html).not.toMatch(/<(img|script|link|iframe|form)|url\(|@import|@font-face|src=/i);
});
