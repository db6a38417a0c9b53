import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { Secret } from "@agentkeys/lib/secret";
import { type DpopKey, presentSession } from "@agentkeys/lib/session";

import {
  mailedToken,
  type Person,
  postForm,
  signIn,
  startTestBroker,
  testKey,
  type TestBroker,
} from "./testing/broker.ts";
import { createTestBrowser, type TestBrowser } from "./testing/browser.ts";
import { startTestProvider, type TestProvider } from "./testing/identity-provider.ts";

const HOSTILE = `<img src=x>"ada"\u202egro.liam@bank.example\nhttps://evil.example`;

let provider: TestProvider;
let broker: TestBroker;
beforeAll(async () => {
  provider = await startTestProvider();
  const { issuer: url, clientId, clientSecret } = provider;
  broker = await startTestBroker({
    settings: {
      providers: [
        { kind: "oidc", name: "corp", title: "The corp", url, clientId, clientSecret: new Secret(clientSecret) },
      ],
    },
  });
  provider.allowRedirect(`${broker.url}/login/callback/corp`);
});
afterAll(async () => {
  await broker.close();
  await provider.close();
});
beforeEach(() => {
  provider.idTokenLies = {};
});

/** Signs in at the provider up to the second question. */
async function visitProvider(sub: string, purpose = LoginPurpose.SIGN_IN, key?: DpopKey) {
  const { login } = broker.clients(presentSession({ key: key ?? (await testKey(broker.clock)) }));
  const { loginId, loginSecret, authorizationUrl } = await login.startOauthLogin({ provider: "corp", purpose });
  const browser: TestBrowser = createTestBrowser();
  await browser.go(`${broker.url}/login`);
  await browser.submit("/login/review", { link: new URL(authorizationUrl).hash.slice(1) });
  await browser.submit("/login/continue");
  for (let page = 0; page < 4 && browser.url.origin !== broker.url; page++) {
    const prompt = /name="prompt" value="(\w+)"/.exec(browser.html)?.[1];
    await browser.submit("", prompt === "login" ? { prompt, login: sub } : { prompt: prompt ?? "" });
  }
  return { browser, held: { loginId, loginSecret }, collect: () => login.awaitLogin({ loginId, loginSecret }) };
}

test("a person is called as the provider calls them, on the page and in what programs are told, as it is by the last sign-in", async () => {
  for (const [claims, name] of [
    [{}, "ada@example.com"],
    [{ email: undefined, preferred_username: "ada.l" }, "ada.l"],
    [{ email: undefined, name: "Ada Lovelace" }, "Ada Lovelace"],
  ] as const) {
    provider.idTokenLies = claims;
    const { browser, collect } = await visitProvider("ada");
    expect(browser.html).toContain(`ada<span class="aka">called <q><bdi>${name}</bdi></q></span>`);
    await browser.submit("/login/confirm");
    const { identity } = await collect();
    expect(identity).toMatchObject({ value: `${provider.issuer}|ada`, displayName: name });
  }
});

test("a name identifies nobody: two people who are called the same are two, and a mailbox of that name is a third", async () => {
  const accounts = new Set<string>();
  for (const sub of ["one", "two"]) {
    provider.idTokenLies = { email: "boss@example.com" };
    const { browser, collect } = await visitProvider(sub);
    await browser.submit("/login/confirm");
    accounts.add((await collect()).omniAccount);
  }
  accounts.add((await signIn(broker, "boss@example.com")).omniAccount);
  expect(accounts.size).toBe(3);
});

test("a hostile name is harmless on the page, in the mail to the others, and to programs", async () => {
  provider.idTokenLies = { email: HOSTILE };
  const victim = await signIn(broker, "victim@example.com");
  const { browser, held } = await visitProvider("eve", LoginPurpose.LINK, victim.key);
  expect(browser.html).not.toContain("<img");
  expect(browser.html).toContain(
    "<bdi>&lt;img src=x&gt;&quot;ada&quot; gro.liam@bank.example https://evil.example</bdi>",
  );
  await browser.submit("/login/confirm");
  expect(browser.html).not.toContain("<img");

  const second = await addMailbox(victim);
  const { identity } = await victim.clients.account.linkIdentity(held);
  expect(identity?.displayName).toBe(`<img src=x>"ada" gro.liam@bank.example https://evil.example`);
  await broker.tidy();
  const mails = broker.devMailbox?.list().filter(({ to, text }) => to === second && text.includes("|eve"));
  expect(mails?.length).toBeGreaterThan(0);
  for (const { text, html } of mails ?? []) {
    expect(text).toContain(`${provider.issuer}|eve (-img src-x-ada- gro-liam-bank-example https-evil-example)`);
    for (const part of [text, html]) {
      expect(part).not.toContain("evil.example");
      expect(part).not.toContain("bank.example");
      expect(part).not.toContain("<img");
    }
  }
});

/** Links one more mailbox, which is told of what happens from then on. */
async function addMailbox({ clients, key }: Person): Promise<string> {
  const email = "second@example.com";
  const { login } = broker.clients(key && presentSession({ key }));
  const { loginId, loginSecret } = await login.startEmailLogin({ email, purpose: LoginPurpose.LINK });
  await postForm(broker, "confirm", mailedToken(broker, email));
  await clients.account.linkIdentity({ loginId, loginSecret });
  return email;
}
