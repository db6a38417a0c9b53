import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { HOUR } from "@agentkeys/lib/clock";
import { Secret } from "@agentkeys/lib/secret";
import { presentSession } from "@agentkeys/lib/session";

import { reasonOf, startTestBroker, type TestBroker, testKey } from "./testing/broker.ts";
import { createTestBrowser } from "./testing/browser.ts";
import { startTestProvider, type TestProvider } from "./testing/identity-provider.ts";

let provider: TestProvider;
let broker: TestBroker;
beforeAll(async () => {
  provider = await startTestProvider();
  const { issuer: url, clientId, clientSecret } = provider;
  const corp = { kind: "oidc", name: "corp", title: "Corp", url, clientId } as const;
  broker = await startTestBroker({ settings: { providers: [{ ...corp, clientSecret: new Secret(clientSecret) }] } });
  provider.allowRedirect(`${broker.url}/login/callback/corp`);
});
afterAll(async () => {
  await broker.close();
  await provider.close();
});
afterEach(() => {
  provider.idTokenLies = {};
  provider.lies.clear();
});

/** Somebody goes to the provider and agrees there; gives what the broker shows them then, and how the sign-in ends. */
async function visit() {
  const { login } = broker.clients(presentSession({ key: await testKey(broker.clock) }));
  const { loginId, loginSecret, authorizationUrl } = await login.startOauthLogin({ provider: "corp" });
  const browser = createTestBrowser();
  await browser.go(`${broker.url}/login`);
  await browser.submit("/login/review", { link: new URL(authorizationUrl).hash.slice(1) });
  await browser.submit("/login/continue");
  while (browser.url.origin === provider.issuer && browser.status === 200) {
    const isLogin = browser.html.includes('name="login"');
    await browser.submit(isLogin ? "/login" : "/consent", isLogin ? { login: "ada" } : {});
  }
  return { browser, collect: () => login.awaitLogin({ loginId, loginSecret }, { timeoutMs: 1200 }) };
}

test("control: an ID token that tells the truth leads back to the question", async () => {
  const { browser } = await visit();
  expect(browser.url.pathname).toMatch(/^\/login\/returned\//);
});

const past = Math.floor(Date.now() / 1000) - 3600;
test.each<[claim: string, value: unknown]>([
  ["iss", "https://other.example"],
  ["iss", undefined],
  ["aud", "another-client"],
  ["aud", undefined],
  ["nonce", "of-another-visit"],
  ["nonce", undefined],
  ["exp", past],
  ["exp", undefined],
  ["sub", undefined],
])("an ID token whose %s is %s signs nobody in", async (claim, value) => {
  provider.idTokenLies = { [claim]: value };
  const { browser, collect } = await visit();
  expect(browser.status).toBe(400);
  expect(browser.html).toContain("belongs to no sign-in");
  expect(await reasonOf(collect())).toBe("LOGIN_PENDING");
});

test("a provider whose document names another issuer than the one that was configured is not gone to", async () => {
  broker.pass(HOUR + 1000);
  const document = (await (await fetch(`${provider.issuer}/.well-known/openid-configuration`)).json()) as object;
  provider.lies.set("/.well-known/openid-configuration", { ...document, issuer: "https://accounts.google.com" });
  const { login } = broker.clients(presentSession({ key: await testKey(broker.clock) }));
  expect(await reasonOf(login.startOauthLogin({ provider: "corp" }))).toBe("PROVIDER_UNAVAILABLE");
});
