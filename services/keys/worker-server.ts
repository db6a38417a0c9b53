import type { KeyObject } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { BackupService } from "@agentkeys/gen/agentkeys/keys/v1/backup_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { SignLogService } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";
import type { Clock } from "@agentkeys/lib/clock";
import type { SettingValue } from "@agentkeys/lib/evidence/claims";
import type { Logger } from "@agentkeys/lib/log";
import { createCallMetrics, type Registry } from "@agentkeys/lib/metrics";
import type { RandomBytes } from "@agentkeys/lib/random";
import { Readiness, type RunningServer, serve } from "@agentkeys/lib/rpc";
import { ownOrigins } from "@agentkeys/lib/rpc/own-origins";
import { remoteSessionKeys } from "@agentkeys/lib/session";

import { createAttestation } from "./backends/tee/attestation.ts";
import { createChallenges } from "./backends/tee/backup/challenge.ts";
import { createCustodian } from "./backends/tee/backup/custodian.ts";
import { openCustodyStore } from "./backends/tee/backup/custody-store.ts";
import type { CustodyOwner } from "./backends/tee/backup/plan.ts";
import type { Hardware } from "./backends/tee/hardware.ts";
import type { RunningReleases } from "./backends/tee/release-floor.ts";
import { ed25519KeyFor } from "./backends/tee/root-key.ts";
import type { RootKey } from "./backends/tee/sealer.ts";
import type { TlsIdentity } from "./backends/tee/tls-identity.ts";
import { createTurnstile } from "./backends/tee/turnstile.ts";
import { createBackupService } from "./backup-service.ts";
import { admitByBroker } from "./broker-admission.ts";
import { deriveSecretKeyWith } from "./derivation.ts";
import { createKeyService } from "./key-service.ts";
import type { TeeSettings } from "./settings-tee.ts";
import { createSignLogService } from "./sign-log-service.ts";
import { createCountingLog } from "./sign-log/index.ts";
import { type Allowance, createRateLimit, createSignPolicy, type SignPolicy } from "./sign-policy/index.ts";
import { createDerivingEngine } from "./signing.ts";
import { version } from "./version.ts";
import type { WorkerLog } from "./worker-log.ts";

/** How often one account may ask for a page of its entries, of up to 200. */
const LISTINGS: Allowance = { times: 120, seconds: 60 };

/** What a worker has opened by the time that it may be asked. */
export interface WorkerParts {
  key: RootKey;
  hardware: Hardware;
  releases: RunningReleases;
  workerLog: WorkerLog;
  identity: TlsIdentity;
  bootId: string;
  /** What the evidence says of the settings. */
  claimed: Readonly<Record<string, SettingValue>>;
  /** Whose shares are kept here; absent: nobody's. */
  owners: readonly CustodyOwner[] | undefined;
  registry: Registry;
  allowance: Allowance | undefined;
  log: Logger;
  clock: Clock;
  random: RandomBytes;
}

/** Listens, attests what it is, and signs what its policy lets through. */
export async function serveWorker(settings: TeeSettings, parts: WorkerParts): Promise<RunningServer> {
  const { key, workerLog, identity, registry, log, clock, random } = parts;
  const { signLog } = workerLog;
  const { broker, publicUrl } = settings;
  let origins: readonly string[] = [];
  const admission = admitByBroker(broker, { origins: () => origins, clock });
  const readiness = new Readiness();
  readiness.set("broker", admission.isReachable);
  readiness.set("sign_log", () => signLog.ready());

  if (settings.insecureBroker) log.warn("DEV ONLY: the broker is spoken to in cleartext; whoever answers can sign");
  log.info(
    { signer: settings.signer, log_size: signLog.head.size, version: version(), evidence: settings.evidence.by },
    "attesting",
  );
  const identityKey = await ed25519KeyFor(key, "identity");
  const attestation = attesting(parts, identityKey);
  const engine = createDerivingEngine({
    derive: (omniAccount) => deriveSecretKeyWith((data) => key.mac(data), omniAccount),
    // The root key is more than the engine's: it is let go of last.
    destroy: () => undefined,
  });
  const policy = policyOf(settings, parts);
  const counted = createCountingLog(signLog, registry);
  const backupService = await custodyOf(settings, parts, identityKey);
  const server = await serve({
    service: "keys",
    metrics: (openConnections) => createCallMetrics(registry, openConnections),
    listen: settings.listen,
    tls: identity.tls,
    services: [KeyService, SignLogService, ...(backupService ? [BackupService] : [])],
    routes: (router) => {
      router
        .service(KeyService, { ...createKeyService({ engine, signLog: counted, policy }), ...attestation })
        .service(SignLogService, createSignLogService(signLog, createRateLimit(LISTINGS, clock, "pages of entries")));
      if (backupService !== undefined) router.service(BackupService, backupService);
    },
    interceptors: [admission.interceptor],
    // A Linux process may have 4096 descriptors; half of these are left to those whom one peer would keep out.
    limits: { connections: { ofOne: 1000, ofAll: 2000 } },
    ...{ readiness, log, clock, random },
  });
  origins = ownOrigins(server, publicUrl);
  return server;
}

function attesting(
  { hardware, releases, workerLog, identity, bootId, claimed, clock }: WorkerParts,
  identityKey: KeyObject,
): ReturnType<typeof createAttestation> {
  return createAttestation({
    provider: hardware.provider,
    bootId,
    spkiSha256: identity.spkiSha256,
    identityKey,
    version: version(),
    settings: claimed,
    head: () => {
      const { size, root, counter } = workerLog.signLog.head;
      return { vkey: workerLog.vkey, size, root, ...(hardware.logCounter !== "none" && { counter }) };
    },
    minSecurityVersion: () => releases.now?.least,
    ...{ clock, sleep },
  });
}

/** Shares of other workers, where the settings name some: everywhere else there is no such service. */
async function custodyOf(
  { stateFolder }: TeeSettings,
  { key, owners, workerLog, log, clock, random }: WorkerParts,
  identityKey: KeyObject,
): Promise<ReturnType<typeof createBackupService> | undefined> {
  if (owners === undefined) return undefined;
  const custodian = createCustodian({
    ...{ owners, identityKey, log, clock },
    store: await openCustodyStore(join(stateFolder, "shares"), { key, random }),
    challenges: createChallenges({ clock, random }),
    record: ({ backupId, index, machine, ticket: { issuedAt, expiresAt } }) =>
      workerLog.signLog.note({
        ...{ op: "give-out-share", backup: backupId, index, machine },
        ...{ ticket_iat: issuedAt / 1000, ticket_exp: expiresAt / 1000 },
      }),
  });
  const limits = { perMinute: 60, waiting: { ofOne: 4, ofAll: 16 } };
  return createBackupService(custodian, createTurnstile({ clock, sleep, ...limits }));
}

const sleep = (ms: number): Promise<void> => delay(ms, undefined, { ref: false });

function policyOf({ broker, generalMessages }: TeeSettings, { clock, allowance }: WorkerParts): SignPolicy {
  return createSignPolicy({
    broker: broker.issuer,
    keys: remoteSessionKeys(`${broker.url}/.well-known/agentkeys-session-jwks.json`),
    clock,
    generalMessages,
    ...(allowance && { allowance }),
  });
}
