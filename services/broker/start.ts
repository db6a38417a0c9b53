import { AccountService } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { type Clock, MINUTE, systemClock } from "@agentkeys/lib/clock";
import { ErrorReason } from "@agentkeys/lib/failure";
import { createLog, type Logger } from "@agentkeys/lib/log";
import { createCallMetrics, type MetricsServer, Registry, serveMetrics } from "@agentkeys/lib/metrics";
import { type RandomBytes, systemRandom } from "@agentkeys/lib/random";
import { Readiness, serve } from "@agentkeys/lib/rpc";
import { ownOrigins } from "@agentkeys/lib/rpc/own-origins";
import { authenticate, createDpopVerifier, createSessionVerifier, type SessionVerifier } from "@agentkeys/lib/session";

import { auditEvent } from "./audit/index.ts";
import { type Allowances, createLimits } from "./limits/index.ts";
import { createBell, createGithubProvider, createOidcProvider, type IdentityProvider } from "./login/index.ts";
import { createDevMailbox, createSmtpMailer, type DevMailbox, type Mailer } from "./mail/index.ts";
import { type BrokerMetrics, createBrokerMetrics } from "./metrics.ts";
import { createOutbox, ringing, sendNotices } from "./notices/index.ts";
import { createPages } from "./pages/index.ts";
import { createAccountService } from "./rpc/account-service.ts";
import { createBrokerService } from "./rpc/broker-service.ts";
import { createLoginService } from "./rpc/login-service.ts";
import type { BrokerSettings } from "./settings.ts";
import type { BrokerStore } from "./store/index.ts";
import { createKeeper } from "./store/keeper.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import type { ContractWallets } from "./wallet/index.ts";
import {
  createKeySealer,
  createOidcMinter,
  createSessionIssuer,
  type KeyPurpose,
  mayAskAgain,
  openSigningKeys,
  rotation,
  sessionLives,
  type SessionStore,
  type SigningKeys,
} from "./token/index.ts";

/** What tests replace. */
export interface BrokerDependencies {
  log?: Logger;
  clock?: Clock;
  random?: RandomBytes;
  allowances?: Partial<Allowances>;
  /** Where the store stops growing, in pages of 4 KiB: a disk that is full. */
  maxStorePages?: number | undefined;
}

/** A broker that accepts calls. */
export interface RunningBroker {
  /** Where it listens. */
  url: string;
  /** Its issuer. */
  publicUrl: string;
  /** Where what is counted can be scraped; absent where that was not asked for. */
  metricsUrl?: string;
  /** Absent when mails are really sent. */
  devMailbox?: DevMailbox;
  /** Forgets what has expired and rotates keys if due, as it does by itself once a minute. */
  readonly tidy: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/**
 * Puts the parts together and starts to listen.
 * @throws SettingsError when the store or its keys do not fit the settings; Node's own error when the address cannot be listened on
 */
export async function startBroker(
  settings: BrokerSettings,
  {
    log = createLog("broker", { level: settings.logLevel }),
    clock = systemClock,
    random = systemRandom,
    allowances = {},
    maxStorePages,
  }: BrokerDependencies = {},
): Promise<RunningBroker> {
  const registry = new Registry();
  const metrics = settings.metricsListen && createBrokerMetrics(registry);
  const opened = await openSqliteStore({
    path: settings.store,
    clientId: settings.clientId,
    log,
    maxPages: maxStorePages,
    onFailure: metrics?.storeFailed,
  });
  const store = metrics?.ofStore(opened) ?? opened;
  let scraped: MetricsServer | undefined;
  try {
    if (settings.metricsListen) scraped = await serveMetrics({ listen: settings.metricsListen, registry, log });
    const { close, ...running } = await startOn(store, settings, { log, clock, random, allowances, registry, metrics });
    return {
      ...running,
      ...(scraped && { metricsUrl: scraped.url }),
      close: async () => {
        await close();
        await scraped?.close();
      },
    };
  } catch (error) {
    await scraped?.close();
    await store.close();
    throw error;
  }
}

interface StartParts extends Required<Omit<BrokerDependencies, "maxStorePages">> {
  registry: Registry;
  /** Absent where nobody can ask for what is counted. */
  metrics: BrokerMetrics | undefined;
}

async function startOn(
  store: BrokerStore,
  settings: BrokerSettings,
  { log, clock, random, allowances, registry, metrics }: StartParts,
): Promise<RunningBroker> {
  const { audit } = store;
  const sealer = createKeySealer(settings.keyEncryptionKey);
  const open = (purpose: KeyPurpose): Promise<SigningKeys> =>
    openSigningKeys({ purpose, transaction: store.transaction, sealer, policy: rotation[purpose], clock, log });
  const sessionKeys = await open("session");
  const oidcKeys = await open("oidc");

  // Both are known once it listens: on port 0 only then.
  let publicUrl = settings.publicUrl ?? "";
  let origins: readonly string[] = [];
  const issuer = (): string => publicUrl;

  const devMailbox = settings.smtpUrl === undefined ? createDevMailbox({ clock, log }) : undefined;
  const mailer = devMailbox ?? createSmtpMailer({ url: settings.smtpUrl?.reveal() ?? "", from: settings.mailFrom });
  const onMailError = (error: unknown): void => log.warn({ err: error }, "a mail could not be sent");
  const noticeMailer = metrics?.ofMailer(mailer, "notice") ?? mailer;
  const sending = { notices: store.notices, mailer: noticeMailer, publicUrl: issuer, clock, random, log };
  const outbox = createOutbox((stopping) => sendNotices(sending, stopping), log);

  const lives = { ...sessionLives, renewable: settings.renewableMs };
  const shared = {
    ...store,
    transaction: ringing(store.transaction, outbox),
    limits: metrics?.ofLimits(createLimits(allowances)) ?? createLimits(allowances),
    sessionIssuer: createSessionIssuer({ issuer, keys: sessionKeys, clock, random, lives }),
    clientId: settings.clientId,
    dormantAfterMs: settings.dormantAfterMs,
    publicUrl: issuer,
    clock,
    random,
  };
  const bell = createBell();
  const contractWallets = await contractWalletsOf(settings);
  const providers = providersOf(settings, clock);
  const login = { ...shared, bell, providers };
  const minter = createOidcMinter({ issuer, keys: oidcKeys, audiences: settings.audiences, clock, random });

  const walletParts = { ...shared, bell, sessionKeys, minter, ...(contractWallets && { contractWallets }) };
  const signInMailer = metrics?.ofMailer(mailer, "sign-in") ?? mailer;
  const server = await serve({
    service: "broker",
    metrics: (openConnections) => createCallMetrics(registry, openConnections),
    listen: settings.listen,
    ...(settings.tls && { tls: settings.tls }),
    services: [LoginService, BrokerService, AccountService],
    routes: (router) => {
      router.service(LoginService, createLoginService({ ...login, mailer: signInMailer, onMailError }));
      router.service(BrokerService, createBrokerService(walletParts));
      router.service(AccountService, createAccountService({ ...shared, store }));
    },
    interceptors: [
      authenticate({
        verifier: { verify: (token, o) => ownSessions(store.sessions, sessionKeys, publicUrl, clock).verify(token, o) },
        dpop: createDpopVerifier({ origins: () => origins, clock }),
        onAdmission: ({ id }) => store.sessions.touch(id, clock()),
        onRefusal: ({ session, failure, call, info }) => {
          const facts = { anchor: session.anchor, sessionId: session.id, outcome: ErrorReason[failure.reason] };
          return audit.append(auditEvent(clock(), info, { action: "call.refused", ...facts, subject: call }));
        },
      }),
    ],
    readiness: readinessOf(store, mailer, [sessionKeys, oidcKeys], providers, contractWallets),
    pages: createPages({
      login,
      account: { ...login, mailer, onMailError },
      wallet: walletParts,
      notices: shared,
      wellKnown: { publicUrl: issuer, oidcKeys, sessionKeys },
      ...(devMailbox && { devMailbox }),
      publicUrl: issuer,
      log,
    }),
    trustedProxies: settings.trustedProxies,
    log,
    clock,
    random,
  });
  if (publicUrl === "") publicUrl = server.url;
  origins = ownOrigins(server, settings.publicUrl);
  if (devMailbox !== undefined) log.warn(`DEVELOPMENT: mails are not sent; read them at ${publicUrl}/dev/mailbox`);
  if (settings.keyEncryptionKey === undefined) {
    log.warn("DEVELOPMENT: the signing keys are stored unencrypted; set AGENTKEYS_BROKER_KEY_ENCRYPTION_KEY");
  }

  const findChain = (): Promise<void> => learnChain(contractWallets, log);
  await findChain();
  const keeper = createKeeper({
    store,
    historyMs: settings.historyMs,
    also: [sessionKeys.rotate, oidcKeys.rotate, outbox.send, findChain],
    clock,
    log,
    everyMs: MINUTE,
  });
  return {
    url: server.url,
    publicUrl,
    ...(devMailbox && { devMailbox }),
    tidy: keeper.tidy,
    close: async () => {
      bell.close();
      await server.close();
      await keeper.stop();
      await outbox.stop();
      mailer.close();
      await store.close();
    },
  };
}

/** Checks our own session tokens. One that the store does not know (an older copy was put back) is no better than a revoked one. */
function ownSessions(sessions: SessionStore, keys: SigningKeys, issuer: string, clock: Clock): SessionVerifier {
  const isRevoked = async (id: string, renewable: boolean): Promise<boolean> => {
    const record = await sessions.find(id);
    if (record === undefined) return true;
    return record.revokedAt !== undefined && !(renewable && mayAskAgain(record, clock()));
  };
  return createSessionVerifier({ issuer, keys: keys.verificationKey, isRevoked, clock });
}

/** Loaded only where there is a node to ask: what it is made of is large. */
async function contractWalletsOf({ ethereumRpcUrl: rpcUrl }: BrokerSettings): Promise<ContractWallets | undefined> {
  if (rpcUrl === undefined) return undefined;
  const { createContractWallets } = await import("./wallet/contract-wallets.ts");
  return createContractWallets({ rpcUrl });
}

/** Until the node has said once which chain it is on, challenges name Ethereum's own, and contract wallets cannot sign in. */
async function learnChain(contractWallets: ContractWallets | undefined, log: Logger): Promise<void> {
  if (contractWallets === undefined || contractWallets.chainId() !== undefined) return;
  try {
    await contractWallets.check();
    log.info({ chain_id: contractWallets.chainId() }, "contract wallets are checked on this chain");
  } catch (error) {
    log.warn({ err: error }, "the EVM node cannot be asked: contract wallets cannot sign in until it can");
  }
}

function providersOf({ providers }: BrokerSettings, clock: Clock): ReadonlyMap<string, IdentityProvider> {
  const made = providers.map(({ kind, url, ...rest }): [string, IdentityProvider] => [
    rest.name,
    kind === "github"
      ? createGithubProvider({ ...rest, baseUrl: url })
      : createOidcProvider({ ...rest, issuer: url }, clock),
  ]);
  return new Map(made);
}

function readinessOf(
  store: BrokerStore,
  mailer: Mailer,
  keys: readonly SigningKeys[],
  providers: ReadonlyMap<string, IdentityProvider>,
  contractWallets: ContractWallets | undefined,
): Readiness {
  const readiness = new Readiness();
  readiness.set("store", () => store.check());
  readiness.set("mail", () => mailer.check());
  // Who cannot sign in there can in another way.
  for (const [name, provider] of providers) {
    readiness.set(`provider ${name}`, () => provider.check(), { optional: true });
  }
  // Wallets with a key of their own need no node.
  if (contractWallets !== undefined) readiness.set("ethereum", () => contractWallets.check(), { optional: true });
  readiness.set("signing_keys", () => {
    // Throws while there is none.
    for (const each of keys) each.current();
    return Promise.resolve();
  });
  return readiness;
}
