import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { computeOmniAccount } from "@agentkeys/lib/account";
import { Secret } from "@agentkeys/lib/secret";
import { presentSession } from "@agentkeys/lib/session";

import { mailedToken, postForm, reasonOf, startTestBroker, testKey, type TestBroker } from "./testing/broker.ts";
import { createTestBrowser, type TestBrowser } from "./testing/browser.ts";
import { startTestProvider, type TestProvider } from "./testing/identity-provider.ts";

let provider: TestProvider;
let second: TestProvider;
let broker: TestBroker;
beforeAll(async () => {
  [provider, second] = await Promise.all([startTestProvider(), startTestProvider()]);
  const settingsOf = ({ issuer, clientId, clientSecret }: TestProvider, name: string) =>
    ({
      kind: "oidc",
      name,
      title: `The ${name}`,
      url: issuer,
      clientId,
      clientSecret: new Secret(clientSecret),
    }) as const;
  broker = await startTestBroker({
    settings: { providers: [settingsOf(provider, "corp"), settingsOf(second, "other")] },
  });
  provider.allowRedirect(`${broker.url}/login/callback/corp`);
  second.allowRedirect(`${broker.url}/login/callback/other`);
});
afterAll(async () => {
  await broker.close();
  await Promise.all([provider.close(), second.close()]);
});
let browser: TestBrowser;
beforeEach(() => {
  browser = createTestBrowser();
  provider.outage = false;
  delete provider.answersAs;
  provider.lies.clear();
});

async function start(name = "corp") {
  const key = await testKey(broker.clock);
  const { login } = broker.clients(presentSession({ key }));
  const started = await login.startOauthLogin({ provider: name, deviceName: "test machine" });
  const { loginId, loginSecret } = started;
  const linkToken = new URL(started.authorizationUrl).hash.slice(1);
  return { ...started, linkToken, collect: () => login.awaitLogin({ loginId, loginSecret }, { timeoutMs: 1200 }) };
}

/** What the page's script does with the link. */
async function open({ linkToken }: { linkToken: string }): Promise<void> {
  await browser.go(`${broker.url}/login`);
  await browser.submit("/login/review", { link: linkToken });
}

/** Logs in at the provider and agrees there, which leads back to the broker. */
async function agreeAtProvider(sub: string): Promise<void> {
  for (let page = 0; page < 4 && browser.url.origin !== broker.url; page++) {
    const prompt = /name="prompt" value="(\w+)"/.exec(browser.html)?.[1];
    await browser.submit("", prompt === "login" ? { prompt, login: sub } : { prompt: prompt ?? "" });
  }
}

async function goThere(login: { linkToken: string }): Promise<void> {
  await open(login);
  await browser.submit("/login/continue");
}

test("a person agrees twice, before the provider is asked and after, and the machine that started it is signed in", async () => {
  const login = await start();
  await open(login);
  expect(browser.html).toContain(login.userCode);
  expect(browser.html).toContain("test machine");
  expect(browser.html).toContain("The corp");
  await browser.submit("/login/continue");
  expect(browser.url.origin).toBe(provider.issuer);
  await agreeAtProvider("ada");
  expect(browser.url.pathname).toBe(`/login/returned/${login.loginId}`);
  expect(browser.html).toContain(login.userCode);
  expect(browser.html).toContain("<dd>ada<span");
  expect(await reasonOf(login.collect())).toBe("LOGIN_PENDING");
  await browser.submit("/login/confirm");
  expect(browser.html).toContain("Signed in");
  const session = await login.collect();
  const value = `${provider.issuer}|ada`;
  expect(session.identity?.value).toBe(value);
  expect(session.omniAccount).toBe(
    computeOmniAccount({ clientId: "agentkeys", identityType: "oauth2", identityValue: value }),
  );
  expect(await reasonOf(login.collect())).toBe("LOGIN_NOT_FOUND");
});

test("one sign-in sends browsers to its provider so many times, and then nothing more is kept of it", async () => {
  const { name, title, issuer: url, clientId, clientSecret } = { ...provider, name: "corp", title: "The corp" };
  const settings = { kind: "oidc", name, title, url, clientId, clientSecret: new Secret(clientSecret) } as const;
  const strict = await startTestBroker({
    settings: { providers: [settings] },
    allowances: { providerVisits: { times: 2, seconds: 60 } },
  });
  try {
    const { authorizationUrl } = await strict.clients().login.startOauthLogin({ provider: "corp" });
    const goOn = (): Promise<Response> =>
      fetch(`${strict.url}/login/continue`, {
        method: "POST",
        body: new URLSearchParams({ link: authorizationUrl }),
        headers: { "sec-fetch-site": "same-origin" },
      });
    const statuses = [(await goOn()).status, (await goOn()).status, (await goOn()).status];
    expect(statuses).toEqual([200, 200, 429]);
    expect(strict.rows("SELECT 1 FROM oauth_request")).toHaveLength(2);
  } finally {
    await strict.close();
  }
});

test("the same name at another provider is somebody else", async () => {
  const accounts: string[] = [];
  for (const name of ["corp", "other", "corp"]) {
    const login = await start(name);
    browser = createTestBrowser();
    await goThere(login);
    await agreeAtProvider("eve");
    await browser.submit("/login/confirm");
    accounts.push((await login.collect()).omniAccount);
  }
  expect(accounts[0]).toBe(accounts[2]);
  expect(accounts[0]).not.toBe(accounts[1]);
});

describe("nobody is signed in", () => {
  test("when the person says no on our page, before or after", async () => {
    const before = await start();
    await open(before);
    await browser.submit("/login/refuse");
    expect(await reasonOf(before.collect())).toBe("LOGIN_REFUSED");
    const after = await start();
    await goThere(after);
    await agreeAtProvider("ada");
    await browser.submit("/login/refuse");
    expect(await reasonOf(after.collect())).toBe("LOGIN_REFUSED");
  });

  test("when the person says no at the provider", async () => {
    const login = await start();
    await goThere(login);
    await browser.submit("/abort");
    expect(browser.html).toContain("You said no at the provider");
    expect(await reasonOf(login.collect())).toBe("LOGIN_REFUSED");
  });

  test("by whoever started it and knows the link, for the person who went to the provider", async () => {
    const login = await start();
    await goThere(login);
    await agreeAtProvider("ada");
    expect((await postForm(broker, "confirm", login.linkToken)).status).toBe(410);
    const stranger = createTestBrowser();
    await stranger.go(browser.url);
    expect(stranger.status).toBe(404);
    expect(await reasonOf(login.collect())).toBe("LOGIN_PENDING");
  });

  test("by an answer of the provider in another browser, or a second time", async () => {
    const login = await start();
    await goThere(login);
    browser.stopBefore = /\/login\/callback\//;
    await agreeAtProvider("ada");
    const callback = browser.url;
    expect(callback.searchParams.get("code")).not.toBeNull();
    delete browser.stopBefore;
    const thief = createTestBrowser();
    await thief.go(callback);
    expect(thief.status).toBe(400);
    const other = await start();
    await thief.go(`${broker.url}/login`);
    await thief.submit("/login/review", { link: other.linkToken });
    thief.stopBefore = new RegExp(provider.issuer);
    await thief.submit("/login/continue");
    delete thief.stopBefore;
    await thief.go(callback);
    expect(thief.status).toBe(400);
    await browser.go(callback);
    expect(browser.url.pathname).toBe(`/login/returned/${login.loginId}`);
    await browser.go(callback);
    expect(browser.status).toBe(400);
    expect(browser.html).toContain("belongs to no sign-in");
  });

  test("by a code under another sign-in's state", async () => {
    const [mine, theirs] = [await start(), await start()];
    browser.stopBefore = /\/login\/callback\//;
    await goThere(theirs);
    await agreeAtProvider("mallory");
    const stolen = browser.url.searchParams.get("code") ?? "";
    browser = createTestBrowser();
    browser.stopBefore = /\/login\/callback\//;
    await goThere(mine);
    await agreeAtProvider("ada");
    const swapped = browser.url;
    swapped.searchParams.set("code", stolen);
    delete browser.stopBefore;
    await browser.go(swapped);
    expect(browser.status).toBe(400);
    expect(await reasonOf(mine.collect())).toBe("LOGIN_PENDING");
  });

  test("when the answer names another issuer, or comes to another provider's address (mix-up)", async () => {
    provider.answersAs = "https://other.example";
    const login = await start();
    await goThere(login);
    await agreeAtProvider("ada");
    expect(browser.status).toBe(400);
    expect(browser.html).toContain("belongs to no sign-in");
    delete provider.answersAs;
    const mixed = await start();
    browser = createTestBrowser();
    browser.stopBefore = /\/login\/callback\//;
    await goThere(mixed);
    await agreeAtProvider("ada");
    const elsewhere = new URL(browser.url.href.replace("/callback/corp", "/callback/other"));
    delete browser.stopBefore;
    await browser.go(elsewhere);
    expect(browser.status).toBe(400);
  });

  test("when the sign-in has expired meanwhile", async () => {
    const login = await start();
    await goThere(login);
    broker.pass(16 * 60_000);
    await agreeAtProvider("ada");
    expect([400, 410]).toContain(browser.status);
    expect(await reasonOf(login.collect())).toBe("LOGIN_EXPIRED");
  });

  test("when the provider's keys are not those that signed", async () => {
    await provider.rotateKeys();
    provider.lies.set("/jwks", { keys: [] });
    const login = await start();
    await goThere(login);
    await agreeAtProvider("ada");
    expect(browser.status).toBe(400);
    expect(await reasonOf(login.collect())).toBe("LOGIN_PENDING");
  });
});

test("a provider that has changed its keys is asked for them again", async () => {
  for (let round = 0; round < 2; round++) {
    browser = createTestBrowser();
    const login = await start();
    await goThere(login);
    await agreeAtProvider("ada");
    await browser.submit("/login/confirm");
    expect((await login.collect()).identity?.value).toBe(`${provider.issuer}|ada`);
    await provider.rotateKeys();
  }
});

test("a provider that is down is named by /readyz, stops nobody from signing in otherwise, and is said to be", async () => {
  const waiting = await start();
  broker.pass(31_000);
  provider.outage = true;
  expect(await reasonOf(broker.clients().login.startOauthLogin({ provider: "corp" }))).toBe("PROVIDER_UNAVAILABLE");
  const readyz = await fetch(`${broker.url}/readyz`);
  expect(readyz.status).toBe(200);
  expect(await readyz.json()).toMatchObject({
    ready: true,
    dependencies: {
      "provider corp": { ready: false, reason: "PROVIDER_UNAVAILABLE" },
      "provider other": { ready: true },
    },
  });
  const { login } = broker.clients();
  const { loginId, loginSecret } = await login.startEmailLogin({ email: "mail@example.com" });
  await postForm(broker, "confirm", mailedToken(broker, "mail@example.com"));
  await login.awaitLogin({ loginId, loginSecret });
  await start("other");

  // Who was on the way when it went down may go again once it is back.
  provider.outage = false;
  await open(waiting);
  await browser.submit("/login/continue");
  browser.stopBefore = /\/login\/callback\//;
  await agreeAtProvider("ada");
  const callback = browser.url;
  provider.outage = true;
  delete browser.stopBefore;
  await browser.go(callback);
  expect(browser.status).toBe(503);
  provider.outage = false;
  await goThere(waiting);
  await agreeAtProvider("ada");
  await browser.submit("/login/confirm");
  await waiting.collect();
});

test("a provider that is not configured is not known, and the ones that are get named", async () => {
  const call = broker.clients().login.startOauthLogin({ provider: "unknown" });
  await expect(call).rejects.toThrow(/it has corp, other/);
});
