import { createHash, hkdfSync } from "node:crypto";

import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { decodeJwt } from "jose";
import { privateKeyToAddress } from "viem/accounts";
import { afterAll, beforeAll, expect, test } from "vitest";

import { createTestBrowser } from "@agentkeys/broker/testing/browser.ts";
import { startTestProvider, type TestProvider } from "@agentkeys/broker/testing/identity-provider.ts";
import { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import { connectTransport } from "@agentkeys/lib/rpc";
import { Secret } from "@agentkeys/lib/secret";
import { createDpopKey, type DpopKey, generateDpopKey, presentSession } from "@agentkeys/lib/session";

import { plainBrowser } from "./harness/plain-browser.ts";
import { startSystem, type System } from "./harness/system.ts";

const PEOPLE = 200;
const MASTER_SECRET = "5ec7e7".padEnd(64, "0");

let provider: TestProvider;
let system: System;
beforeAll(async () => {
  provider = await startTestProvider();
  const { issuer: url, clientId, clientSecret } = provider;
  const corp = {
    kind: "oidc",
    name: "corp",
    title: "Corp",
    url,
    clientId,
    clientSecret: new Secret(clientSecret),
  } as const;
  // Everybody has an address of their own, so that the limits are those that a broker has in earnest.
  system = await startSystem({ masterSecret: MASTER_SECRET, providers: [corp], trustedProxies: ["127.0.0.1"] });
  provider.allowRedirect(`${system.broker.url}/login/callback/corp`);
});
afterAll(async () => {
  await system.close();
  await provider.close();
});

test(
  "200 people who sign in at once, by mail and at a provider, each get the wallet that is theirs",
  { timeout: 240_000 },
  async () => {
    const people = Array.from({ length: PEOPLE }, (_, i) => newPerson(i));
    // Somebody who is lost is told apart from somebody who got another's: so no failure ends it for all.
    const outcomes = await Promise.allSettled(people.map((person) => signIn(person)));
    const lost = outcomes.flatMap((outcome, i) => (outcome.status === "rejected" ? [`${i}: ${outcome.reason}`] : []));
    expect(lost).toEqual([]);
    const got = outcomes.map((outcome) => (outcome.status === "fulfilled" ? outcome.value : undefined));
    expect(got).toEqual(people.map(({ identity }) => ({ identity: identity.value, ...walletOf(identity) })));
    expect(new Set(got.map((each) => each?.signedBy)).size).toBe(PEOPLE);
  },
);

interface Person {
  /** Who they are to the broker. */
  identity: { type: "email" | "oauth2"; value: string };
  login: string;
  address: string;
}

function newPerson(i: number): Person {
  const login = `person-${i}`;
  const address = `192.0.2.${i + 1}`;
  const identity =
    i % 2 === 0
      ? ({ type: "email", value: `${login}@example.com` } as const)
      : ({ type: "oauth2", value: `${provider.issuer}|${login}` } as const);
  return { login, address, identity };
}

/** What the services must come to, by the contract and by other programs than theirs. */
function walletOf({ type, value }: Person["identity"]) {
  const omniAccount = createHash("sha256").update(`agentkeys${type}${value}`).digest();
  const info = Buffer.concat([Buffer.from("agentkeys-evm-wallet-v1:"), omniAccount]);
  const key = Buffer.from(hkdfSync("sha256", Buffer.from(MASTER_SECRET, "hex"), "", info, 32));
  const address = privateKeyToAddress(`0x${key.toString("hex")}`).toLowerCase();
  return { omniAccount: omniAccount.toString("hex"), signedBy: address, subject: `agentkeys:wallet:${address}` };
}

/** From nothing to an OIDC JWT for the wallet, as the program does it. */
async function signIn(person: Person) {
  const key = await createDpopKey(await generateDpopKey(), { clock: systemClock, random: systemRandom });
  const machine = clientsOf(person, key);
  const { loginId, loginSecret } =
    person.identity.type === "email" ? await startByMail(person, machine) : await startAtProvider(person, machine);
  const { sessionJwt, omniAccount, identity } = await machine.login.awaitLogin({ loginId, loginSecret });

  const owner = clientsOf(person, key, sessionJwt);
  const { address } = await untilAvailable(() => owner.keys.deriveAddress({ omniAccount }));
  await owner.broker.linkWallet({ address });
  const { requestId, siweMessage, challengeToken } = await owner.broker.startWalletAuth({ address });
  const messageHex = Buffer.from(siweMessage).toString("hex");
  const { signature } = await untilAvailable(() => owner.keys.signMessage({ omniAccount, messageHex, challengeToken }));
  const verified = await machine.broker.verifyWallet({ requestId, signature });
  const { jwt } = await clientsOf(person, key, verified.sessionJwt).broker.mintOidcJwt({});
  return { identity: identity?.value, omniAccount, signedBy: verified.walletAddress, subject: decodeJwt(jwt).sub };
}

/** Asks again while the key service cannot ask the broker in time: so does the program, and on a machine with more to do it happens. */
async function untilAvailable<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (ConnectError.from(error).code !== Code.Unavailable) throw error;
    }
  }
}

type Clients = ReturnType<typeof clientsOf>;

function clientsOf({ address }: Person, key: DpopKey, token?: string) {
  const from: Interceptor = (next) => (req) => {
    req.header.set("x-forwarded-for", address);
    return next(req);
  };
  const present = presentSession({ key, ...(token !== undefined && { token: () => new Secret(token) }) });
  const options = { interceptors: [from, present], timeoutMs: 200_000 };
  const toBroker = connectTransport(system.broker.url, options);
  return {
    login: createClient(LoginService, toBroker),
    broker: createClient(BrokerService, toBroker),
    keys: createClient(KeyService, connectTransport(system.keys.url, options)),
  };
}

async function startByMail({ identity }: Person, { login }: Clients) {
  const started = await login.startEmailLogin({ email: identity.value, deviceName: identity.value });
  const [link = ""] = (await system.nextMail(identity.value)).links;
  const { review } = await plainBrowser().confirm(link);
  expect(review).toContain(started.userCode);
  return started;
}

async function startAtProvider({ login: name }: Person, { login }: Clients) {
  const started = await login.startOauthLogin({ provider: "corp", deviceName: name });
  const browser = createTestBrowser();
  await browser.go(`${system.broker.url}/login`);
  await browser.submit("/login/review", { link: new URL(started.authorizationUrl).hash.slice(1) });
  await browser.submit("/login/continue");
  while (browser.url.origin === provider.issuer) {
    const isLogin = browser.html.includes('name="login"');
    await browser.submit(isLogin ? "/login" : "/consent", isLogin ? { login: name } : {});
  }
  expect(browser.html).toContain(started.userCode);
  await browser.submit("/login/confirm");
  return started;
}
