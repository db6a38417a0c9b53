import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import Libsql from "libsql";
import { pino } from "pino";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";

import { AccountService } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { type Clock, DAY } from "@agentkeys/lib/clock";
import { createLog } from "@agentkeys/lib/log";
import { systemRandom } from "@agentkeys/lib/random";
import { connectTransport, failureOf } from "@agentkeys/lib/rpc";
import { ErrorReason } from "@agentkeys/lib/failure";
import { Secret } from "@agentkeys/lib/secret";
import { createDpopKey, type DpopKey, generateDpopKey, presentSession } from "@agentkeys/lib/session";

import type { BrokerSettings } from "../settings.ts";
import { type BrokerDependencies, type RunningBroker, startBroker } from "../start.ts";

/** A broker on a free loopback port with a store in a folder of its own, a clock that tests turn, and generous limits. */
export interface TestBroker extends RunningBroker {
  settings: BrokerSettings;
  /** Every line that it logged. */
  logged: string[];
  /** Turns the clock on by so many milliseconds. */
  pass(ms: number): void;
  clock: Clock;
  clients(interceptor?: Interceptor): Clients;
  /** Runs statements on the store's file, past the broker. */
  sql(statements: string): void;
  /** The first column of each row that a query on the store's file gives. */
  rows(query: string): unknown[];
  /** Stops it and starts another one on the same store, whose settings may differ. */
  restart(changes?: Partial<BrokerSettings>): Promise<TestBroker>;
}

export interface Clients {
  login: Client<typeof LoginService>;
  broker: Client<typeof BrokerService>;
  account: Client<typeof AccountService>;
}

const plenty = { times: 10_000, seconds: 60 };
const generous = {
  mailsBySource: plenty,
  mailsBySourceAndMailbox: plenty,
  mailsByMailbox: plenty,
  oauthLogins: plenty,
  providerVisits: plenty,
  passkeyLogins: plenty,
  walletLogins: plenty,
  wrongLinks: plenty,
  renewals: plenty,
  claims: plenty,
  challenges: plenty,
  wrongSignatures: plenty,
  contractChecks: plenty,
  mints: plenty,
};

export interface TestOptions {
  settings?: Partial<BrokerSettings>;
  allowances?: BrokerDependencies["allowances"];
  maxStorePages?: number;
  /** Goes by `http://localhost` and its port, a name at which browsers use passkeys; by default by its address. */
  named?: boolean;
}

export async function startTestBroker(options: TestOptions = {}): Promise<TestBroker> {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-broker-"));
  const time = { offset: 0 };
  const broker = await startOn(folder, time, options.named === true ? await withName(options) : options);
  return {
    ...broker,
    close: async () => {
      await broker.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Its name is a part of its settings, so that the port is looked for before. */
async function withName(options: TestOptions): Promise<TestOptions> {
  const port = await new Promise<number>((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port: free } = probe.address() as AddressInfo;
      probe.close(() => resolve(free));
    });
  });
  const settings = { listen: { host: "127.0.0.1", port }, publicUrl: `http://localhost:${port}` };
  return { ...options, settings: { ...settings, ...options.settings } };
}

async function startOn(folder: string, time: { offset: number }, options: TestOptions): Promise<TestBroker> {
  const settings: BrokerSettings = {
    listen: { host: "127.0.0.1", port: 0 },
    store: join(folder, "broker.sqlite"),
    clientId: "agentkeys",
    mailFrom: "AgentKeys <agentkeys@localhost>",
    audiences: ["sts.amazonaws.com"],
    renewableMs: 30 * DAY,
    providers: [],
    dormantAfterMs: 180 * DAY,
    historyMs: 400 * DAY,
    trustedProxies: [],
    logLevel: "info",
    ...options.settings,
  };
  const logged: string[] = [];
  const log = createLog("broker", { level: "debug", destination: { write: (line) => void logged.push(line) } });
  const clock = (): number => Date.now() + time.offset;
  const allowances = { ...generous, ...options.allowances };
  const started = await startBroker(settings, { log, clock, allowances, maxStorePages: options.maxStorePages });
  const running = options.named === true ? { ...started, url: started.publicUrl } : started;
  return {
    ...running,
    settings,
    logged,
    clock,
    pass: (ms) => {
      time.offset += ms;
    },
    clients: (interceptor) => {
      const transport = connectTransport(running.url, { interceptors: interceptor === undefined ? [] : [interceptor] });
      return {
        login: createClient(LoginService, transport),
        broker: createClient(BrokerService, transport),
        account: createClient(AccountService, transport),
      };
    },
    sql: (statements) => withFile(settings.store, (file) => file.exec(statements)),
    rows: (query) => withFile(settings.store, (file) => file.prepare(query).raw().all().flat()),
    restart: async (changes) => {
      await running.close();
      return startOn(folder, time, { ...options, settings: { ...options.settings, ...changes } });
    },
  };
}

function withFile<T>(path: string, work: (file: Libsql.Database) => T): T {
  const file = new Libsql(path);
  try {
    return work(file);
  } finally {
    file.close();
  }
}

/** A device key that follows the broker's clock. */
export async function testKey(clock: Clock): Promise<DpopKey> {
  return createDpopKey(await generateDpopKey(), { clock, random: systemRandom });
}

/** The secret in the newest sign-in mail to `email`. */
export function mailedToken(broker: TestBroker, email: string): string {
  const mail = broker.devMailbox
    ?.list()
    .find(({ to, text }) => to === email.trim().toLowerCase() && text.includes("/login#"));
  const token = /\/login#([A-Za-z0-9_-]{43})/.exec(mail?.text ?? "")?.[1];
  if (token === undefined) throw new Error(`no mail with a link for ${email}`);
  return token;
}

/** Posts a form of the sign-in pages as a browser on that page does. */
export function postForm(broker: TestBroker, step: "review" | "confirm" | "refuse", token: string): Promise<Response> {
  return fetch(`${broker.url}/login/${step}`, {
    method: "POST",
    body: new URLSearchParams({ token }),
    headers: { "sec-fetch-site": "same-origin", origin: broker.url },
    redirect: "manual",
  });
}

/** Somebody who has signed in by mail. */
export interface Person {
  clients: Clients;
  key: DpopKey | undefined;
  token: string;
  omniAccount: string;
  email: string;
}

/** Signs somebody in, by mail and a press of the button. Without `bound`, the session is a plain bearer token. */
export async function signIn(broker: TestBroker, email: string, { bound = true } = {}): Promise<Person> {
  const key = bound ? await testKey(broker.clock) : undefined;
  const { login } = broker.clients(key && presentSession({ key }));
  const started = await login.startEmailLogin({ email, deviceName: "test machine" });
  await postForm(broker, "confirm", mailedToken(broker, email));
  const session = await login.awaitLogin({ loginId: started.loginId, loginSecret: started.loginSecret });
  const present = presentSession({ ...(key && { key }), token: () => new Secret(session.sessionJwt) });
  const { sessionJwt: token, omniAccount } = session;
  return { clients: broker.clients(present), key, token, omniAccount, email };
}

/** A wallet that signs what it is given, by another implementation than ours. */
export function testWallet() {
  const account = privateKeyToAccount(generatePrivateKey());
  const address = account.address.toLowerCase();
  return { address, sign: (message: string) => account.signMessage({ message }) };
}

/** Links the wallet to the person and gives a client that holds its wallet session. */
export async function walletSession(broker: TestBroker, person: Person, wallet = testWallet()) {
  await person.clients.broker.linkWallet({ address: wallet.address });
  const challenge = await person.clients.broker.startWalletAuth({ address: wallet.address });
  const signature = await wallet.sign(challenge.siweMessage);
  const { broker: anyone } = broker.clients(person.key && presentSession({ key: person.key }));
  const session = await anyone.verifyWallet({ requestId: challenge.requestId, signature });
  const present = presentSession({
    ...(person.key && { key: person.key }),
    token: () => new Secret(session.sessionJwt),
  });
  return { wallet, session, clients: broker.clients(present) };
}

/** The reason that a call was refused for; fails when it was not. */
export async function reasonOf(call: Promise<unknown>): Promise<string> {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) throw new Error("the call was not refused");
  const { reason, code } = failureOf(error);
  return reason === undefined ? `code ${code}` : ErrorReason[reason];
}

export const silent = pino({ level: "silent" });
