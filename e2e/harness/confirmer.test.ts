import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { connectTransport } from "@agentkeys/lib/rpc";

import { findChromium, openChromium } from "./chromium.ts";
import type { Confirmer } from "./confirmer.ts";
import { plainBrowser } from "./plain-browser.ts";
import { startSystem, type System } from "./system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system.close());

const chromium = findChromium();

const browsers: { name: string; open: () => Promise<Confirmer> }[] = [
  { name: "a browser without JavaScript", open: () => Promise.resolve(plainBrowser()) },
  ...(chromium === undefined ? [] : [{ name: "Chromium", open: () => openChromium(chromium) }]),
];

describe.each(browsers)("a person with $name", ({ name, open }) => {
  let person: Confirmer;
  beforeAll(async () => {
    person = await open();
  });
  afterAll(() => person.close());

  const start = async (who: string) => {
    const login = createClient(LoginService, connectTransport(system.broker.url));
    const email = `${who}-${name.replaceAll(" ", "-").toLowerCase()}@example.com`;
    const { loginId, loginSecret, userCode } = await login.startEmailLogin({ email, deviceName: "ada's <laptop>" });
    const [link] = (await system.nextMail(email)).links;
    return { email, link: link!, userCode, collect: () => login.awaitLogin({ loginId, loginSecret }) };
  };

  test("reads what is being signed in, presses Yes, and the program gets its session", async () => {
    const { email, link, userCode, collect } = await start("ada");
    const { review, outcome } = await person.confirm(link);
    expect(review).toContain(userCode);
    expect(review).toContain(email);
    expect(review).toContain("ada's <laptop>");
    expect(outcome).toContain("Signed in");
    expect((await collect()).identity?.value).toBe(email);
  });

  test("presses No, and nobody gets anything", async () => {
    const { link, collect } = await start("eve");
    expect((await person.refuse(link)).outcome).toContain("Refused");
    await expect(collect()).rejects.toThrow(/refused/);
  });

  test("opens a link again that was used, and is told", async () => {
    const { link } = await start("twice");
    await person.confirm(link);
    await expect(person.confirm(link)).rejects.toThrow(/This link does not work|used/);
  });
});
