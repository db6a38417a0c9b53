import { createPublicKey, type KeyObject } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

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
import { claimedHardware, type Hardware } from "./backends/tee/hardware.ts";
import type { RunningReleases } from "./backends/tee/release-floor.ts";
import { ed25519KeyFor } from "./backends/tee/root-key.ts";
import type { RootKey } from "./backends/tee/sealer.ts";
import type { TlsIdentity } from "./backends/tee/tls-identity.ts";
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
  const attestation = await attesting(settings, parts);
  const engine = createDerivingEngine({
    derive: (omniAccount) => deriveSecretKeyWith((data) => key.mac(data), omniAccount),
    // The root key is more than the engine's: it is let go of last.
    destroy: () => undefined,
  });
  const policy = policyOf(settings, parts);
  const counted = createCountingLog(signLog, registry);
  const server = await serve({
    service: "keys",
    metrics: (openConnections) => createCallMetrics(registry, openConnections),
    listen: settings.listen,
    tls: identity.tls,
    services: [KeyService, SignLogService],
    routes: (router) =>
      router
        .service(KeyService, { ...createKeyService({ engine, signLog: counted, policy }), ...attestation })
        .service(SignLogService, createSignLogService(signLog, createRateLimit(LISTINGS, clock, "pages of entries"))),
    interceptors: [admission.interceptor],
    // A Linux process may have 4096 descriptors; half of these are left to those whom one peer would keep out.
    limits: { connections: { ofOne: 1000, ofAll: 2000 } },
    ...{ readiness, log, clock, random },
  });
  origins = ownOrigins(server, publicUrl);
  return server;
}

async function attesting(
  settings: TeeSettings,
  { key, hardware, releases, workerLog, identity, bootId, clock }: WorkerParts,
): Promise<ReturnType<typeof createAttestation>> {
  return createAttestation({
    provider: hardware.provider,
    bootId,
    spkiSha256: identity.spkiSha256,
    identityKey: rawEd25519(await ed25519KeyFor(key, "identity")),
    version: version(),
    settings: claimedSettings(settings),
    head: () => {
      const { size, root, counter } = workerLog.signLog.head;
      return { vkey: workerLog.vkey, size, root, ...(hardware.logCounter !== "none" && { counter }) };
    },
    minSecurityVersion: () => releases.now?.least,
    clock,
    sleep: (ms) => delay(ms, undefined, { ref: false }),
  });
}

function policyOf({ broker, generalMessages }: TeeSettings, { clock, allowance }: WorkerParts): SignPolicy {
  return createSignPolicy({
    broker: broker.issuer,
    keys: remoteSessionKeys(`${broker.url}/.well-known/agentkeys-session-jwks.json`),
    clock,
    generalMessages,
    ...(allowance && { allowance }),
  });
}

/** What decides what is signed and for whom: every caller's policy names it word for word. */
function claimedSettings(settings: TeeSettings): Record<string, SettingValue> {
  const { broker, generalMessages, insecureBroker } = settings;
  return {
    broker_issuer: broker.issuer,
    broker_url: broker.url,
    general_messages: generalMessages,
    ...claimedHardware(settings),
    ...(insecureBroker && { insecure_broker: "development" }),
  };
}

/** RFC 8410: the last 32 bytes of the SubjectPublicKeyInfo. */
function rawEd25519(key: KeyObject): Uint8Array {
  return createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
}
