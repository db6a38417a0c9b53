import { AccountService } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { type Clock, MINUTE, systemClock } from "@agentkeys/lib/clock";
import { ErrorReason } from "@agentkeys/lib/failure";
import { createLog, type Logger } from "@agentkeys/lib/log";
import { type RandomBytes, systemRandom } from "@agentkeys/lib/random";
import { Readiness, serve } from "@agentkeys/lib/rpc";
import { ownOrigins } from "@agentkeys/lib/rpc/own-origins";
import { authenticate, createDpopVerifier, createSessionVerifier } from "@agentkeys/lib/session";

import { auditEvent } from "./audit/index.ts";
import { type Allowances, createLimits } from "./limits/index.ts";
import { createBell, type LoginParts } from "./login/index.ts";
import { createDevMailbox, createSmtpMailer, type DevMailbox } from "./mail/index.ts";
import { createPages } from "./pages/index.ts";
import { createAccountService } from "./rpc/account-service.ts";
import { createBrokerService } from "./rpc/broker-service.ts";
import { createLoginService } from "./rpc/login-service.ts";
import type { BrokerSettings } from "./settings.ts";
import { createKeeper } from "./store/keeper.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import {
  createKeySealer,
  createOidcMinter,
  createSessionIssuer,
  openSigningKeys,
  rotation,
  sessionLives,
} from "./token/index.ts";

/** What tests replace. */
export interface BrokerDependencies {
  log?: Logger;
  clock?: Clock;
  random?: RandomBytes;
  allowances?: Partial<Allowances>;
}

/** A broker that accepts calls. */
export interface RunningBroker {
  /** Where it listens. */
  url: string;
  /** Its issuer. */
  publicUrl: string;
  /** Absent when mails are really sent. */
  devMailbox?: DevMailbox;
  /** Forgets what has expired and rotates keys if due, as it does by itself once a minute. */
  readonly tidy: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Puts the parts together and starts to listen. @throws SettingsError when the store does not fit the settings. */
export async function startBroker(
  settings: BrokerSettings,
  {
    log = createLog("broker", { level: settings.logLevel }),
    clock = systemClock,
    random = systemRandom,
    allowances = {},
  }: BrokerDependencies = {},
): Promise<RunningBroker> {
  const { clientId } = settings;
  const store = await openSqliteStore({ path: settings.store, clientId, log });
  const sealer = createKeySealer(settings.keyEncryptionKey);
  const open = (purpose: "session" | "oidc") =>
    openSigningKeys({ purpose, store: store.signingKeys, sealer, policy: rotation[purpose], clock, log });
  const sessionKeys = await open("session");
  const oidcKeys = await open("oidc");

  // Both are known once it listens: on port 0 only then.
  let publicUrl = settings.publicUrl ?? "";
  let origins: readonly string[] = [];
  const issuer = (): string => publicUrl;

  const limits = createLimits(allowances);
  const bell = createBell();
  const lives = { ...sessionLives, renewable: settings.renewableMs };
  const sessionIssuer = createSessionIssuer({ issuer, keys: sessionKeys, clock, random, lives });
  const minter = createOidcMinter({ issuer, keys: oidcKeys, audiences: settings.audiences, clock, random });
  const { transaction } = store;
  const login: LoginParts = {
    logins: store.logins,
    transaction,
    limits,
    sessionIssuer,
    bell,
    clientId,
    publicUrl: issuer,
    clock,
    random,
  };

  const devMailbox = settings.smtpUrl === undefined ? createDevMailbox({ clock, log }) : undefined;
  const mailer = devMailbox ?? createSmtpMailer({ url: settings.smtpUrl?.reveal() ?? "", from: settings.mailFrom });

  const readiness = new Readiness();
  readiness.set("store", () => store.check());
  readiness.set("mail", () => mailer.check());
  readiness.set("signing_keys", () => {
    // Throws while none is active.
    sessionKeys.current();
    oidcKeys.current();
    return Promise.resolve();
  });

  const pages = createPages({
    login,
    wellKnown: { publicUrl: issuer, oidcKeys, sessionKeys },
    ...(devMailbox && { devMailbox }),
    publicUrl: issuer,
    log,
  });

  const challenge = { transaction, limits, sessionKeys, publicUrl: issuer, clock, random };
  const verify = {
    transaction,
    challenges: store.challenges,
    audit: store.audit,
    limits,
    sessionIssuer,
    clientId,
    clock,
  };
  const server = await serve({
    service: "broker",
    listen: settings.listen,
    ...(settings.tls && { tls: settings.tls }),
    services: [LoginService, BrokerService, AccountService],
    routes: (router) => {
      const onMailError = (error: unknown): void => log.warn({ err: error }, "a mail could not be sent");
      router.service(LoginService, createLoginService({ ...login, mailer, onMailError, sessions: store.sessions }));
      router.service(BrokerService, createBrokerService({ store, challenge, verify, minter, limits, clock }));
      router.service(AccountService, createAccountService({ store, clock }));
    },
    interceptors: [
      authenticate({
        verifier: {
          verify: (token) =>
            createSessionVerifier({
              issuer: publicUrl,
              keys: sessionKeys.verificationKey,
              // A session that the store does not know (an older copy was put back) is no better than a revoked one.
              isRevoked: async (id) => {
                const record = await store.sessions.find(id);
                return record === undefined || record.revokedAt !== undefined;
              },
              clock,
            }).verify(token),
        },
        dpop: createDpopVerifier({ origins: () => origins, clock }),
        onRefusal: ({ session, failure, call, info }) => {
          const facts = { anchor: session.anchor, sessionId: session.id, outcome: ErrorReason[failure.reason] };
          return store.audit.append(auditEvent(clock(), info, { action: "call.refused", ...facts, subject: call }));
        },
      }),
    ],
    readiness,
    pages,
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

  const keeper = createKeeper({ store, rotate: [sessionKeys.rotate, oidcKeys.rotate], clock, log, everyMs: MINUTE });
  return {
    url: server.url,
    publicUrl,
    ...(devMailbox && { devMailbox }),
    tidy: keeper.tidy,
    close: async () => {
      keeper.stop();
      bell.close();
      await server.close();
      mailer.close();
      await store.close();
    },
  };
}
