import { createPublicKey, type KeyObject } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { SignLogService } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";
import { type Clock, systemClock } from "@agentkeys/lib/clock";
import type { SettingValue } from "@agentkeys/lib/evidence/claims";
import { createLog, type Logger } from "@agentkeys/lib/log";
import { createCallMetrics, Registry, serveMetrics } from "@agentkeys/lib/metrics";
import { type RandomBytes, systemRandom } from "@agentkeys/lib/random";
import { Readiness, type RunningServer, serve } from "@agentkeys/lib/rpc";
import { ownOrigins } from "@agentkeys/lib/rpc/own-origins";
import { remoteSessionKeys } from "@agentkeys/lib/session";
import { createNoteSigner, formatVerifierKey } from "@agentkeys/lib/tlog";

import { createAttestation } from "./backends/tee/attestation.ts";
import { BootRefused } from "./backends/tee/boot-decision.ts";
import { boot, type Booted } from "./backends/tee/genesis.ts";
import { claimedHardware, type Hardware, type HardwareDependencies, openHardware } from "./backends/tee/hardware.ts";
import { deriveFor, ed25519KeyFor } from "./backends/tee/root-key.ts";
import type { MonotonicCounter as NvCounter, RootKey } from "./backends/tee/sealer.ts";
import { createStateFile } from "./backends/tee/state-file.ts";
import { createTlsIdentity, type TlsIdentity } from "./backends/tee/tls-identity.ts";
import { admitByBroker } from "./broker-admission.ts";
import { deriveSecretKeyWith } from "./derivation.ts";
import { createKeyService } from "./key-service.ts";
import type { TeeFlags, TeeSettings } from "./settings-tee.ts";
import { auditInBackground } from "./sign-log-audit.ts";
import { createSignLogService } from "./sign-log-service.ts";
import {
  createCountingLog,
  type MerkleSignLog,
  type MonotonicCounter,
  openLogFolder,
  openMerkleSignLog,
} from "./sign-log/index.ts";
import { type Allowance, createSignPolicy } from "./sign-policy/index.ts";
import { createDerivingEngine } from "./signing.ts";
import { version } from "./version.ts";

/** What tests replace. */
export interface TeeDependencies {
  log?: Logger;
  clock?: Clock;
  random?: RandomBytes;
  /** How often one account may ask for a signature. */
  allowance?: Allowance;
  hardware?: Pick<HardwareDependencies, "kms" | "withoutTpm">;
}

/** A TEE worker that accepts calls. */
export interface RunningTeeWorker extends RunningServer {
  /** Where what is counted can be scraped; absent where that was not asked for. */
  metricsUrl?: string;
}

/**
 * Opens what the TPM sealed, the sign log, and the port: in this order, so that nobody is answered by a worker that is not the newest one
 * of its line. The whole log is read again meanwhile: where that finds damage, nothing more is signed, and readiness says so.
 * `close` drains, keeps the log's head, and lets go of the root key.
 * @throws UnsealRefused, BootRefused, SignLogError: the process ends with 42
 */
export async function startTeeWorker(
  settings: TeeSettings,
  flags: TeeFlags,
  {
    log = createLog("keys", { level: settings.logLevel }),
    clock = systemClock,
    random = systemRandom,
    allowance,
    hardware: replaced,
  }: TeeDependencies = {},
): Promise<RunningTeeWorker> {
  const bootId = Buffer.from(random(16)).toString("hex");
  const identity = createTlsIdentity({ names: namesOf(settings), clock, random });
  const hardware = await openHardware(settings, { random, clock, log, tlsKey: identity.spki, ...replaced });
  const undo: (() => Promise<void>)[] = [() => hardware.close()];
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    await mkdir(settings.stateFolder, { recursive: true, mode: 0o700 });
    const booted = await boot({
      file: createStateFile(join(settings.stateFolder, "state.json")),
      vault: hardware.vault,
      counters: hardware.counters,
      allowGenesis: flags.allowGenesis,
      ...(flags.acceptRollback !== undefined && { acceptRollback: flags.acceptRollback }),
      ...{ bootId, clock },
    });
    undo.push(() => {
      booted.key.destroy();
      return Promise.resolve();
    });
    log.info({ how: booted.how, vault: hardware.vault.type, boot_id: bootId }, "root key opened");

    const signLog = await openSignLog(settings, { booted, hardware, flags, clock, random });
    const logAt = undo.length;
    undo.push(async () => {
      await signLog.close();
      await booted.state.advance(headOf(signLog));
    });
    const registry = new Registry();
    const parts = { booted, hardware, signLog, identity, registry, bootId, log, clock, random, allowance };
    const server = await listen(settings, parts);
    undo.push(() => server.close());
    const { metricsListen } = settings;
    const scraped = await (metricsListen && serveMetrics({ listen: metricsListen, registry, log }));
    if (scraped !== undefined) undo.push(() => scraped.close());
    const audited = auditInBackground(signLog, log);
    // Closing the log ends the audit; nothing of it goes on after that.
    undo.splice(logAt, 0, () => audited);
    return { ...server, ...(scraped && { metricsUrl: scraped.url }), close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Opened {
  booted: Booted;
  hardware: Hardware;
  clock: Clock;
  random: RandomBytes;
}

/** @throws SignLogError, BootRefused ROLLED_BACK where the log is shorter than the state says */
async function openSignLog(
  settings: TeeSettings,
  { booted, hardware, flags, clock, random }: Opened & { flags: TeeFlags },
): Promise<MerkleSignLog> {
  const { key, state, how } = booted;
  const seed = await deriveFor(key, "log");
  const signer = createNoteSigner(settings.signer, seed);
  seed.fill(0);
  // A first start that ended before the log was begun is taken up again: nothing was signed yet.
  const begin = state.logHead === undefined;
  const signLog = await openMerkleSignLog({
    files: await openLogFolder(join(settings.stateFolder, "sign-log")),
    signer,
    counter: hardware.logCounter === "none" ? "none" : countingFrom(hardware.logCounter),
    begin,
    acceptRollback: how === "rollback-accepted" || flags.acceptRollback !== undefined,
    countEveryMs: settings.countEveryMs,
    ...{ clock, random },
  });
  const kept = state.logHead?.size ?? 0n;
  if (BigInt(signLog.head.size) < kept && how !== "rollback-accepted") {
    await signLog.close();
    throw new BootRefused("ROLLED_BACK", `the sign log has ${signLog.head.size} entries, but the state says ${kept}`);
  }
  if (begin) await state.advance(headOf(signLog));
  return signLog;
}

/** A counter that was never incremented has no value: the log's begins with its first. */
function countingFrom(counter: NvCounter): MonotonicCounter {
  return {
    read: async () => (await counter.read()) ?? (await counter.increment()),
    increment: () => counter.increment(),
  };
}

async function listen(
  settings: TeeSettings,
  parts: Opened & {
    signLog: MerkleSignLog;
    identity: TlsIdentity;
    registry: Registry;
    bootId: string;
    log: Logger;
    allowance: Allowance | undefined;
  },
): Promise<RunningServer> {
  const { booted, hardware, signLog, identity, registry, bootId, log, clock, random, allowance } = parts;
  const { broker, publicUrl, generalMessages } = settings;
  let origins: readonly string[] = [];
  const admission = admitByBroker(broker, { origins: () => origins, clock });
  const readiness = new Readiness();
  readiness.set("broker", admission.isReachable);
  readiness.set("sign_log", () => signLog.ready());

  const { head } = signLog;
  if (settings.insecureBroker) log.warn("DEV ONLY: the broker is spoken to in cleartext; whoever answers can sign");
  log.info(
    { signer: settings.signer, log_size: head.size, version: version(), evidence: settings.evidence.by },
    "attesting",
  );
  const identityKey = await ed25519KeyFor(booted.key, "identity");
  const signerKey = await logKeyOf(booted.key, settings.signer);
  const attestation = createAttestation({
    provider: hardware.provider,
    bootId,
    spkiSha256: identity.spkiSha256,
    identityKey: rawEd25519(identityKey),
    version: version(),
    settings: claimedSettings(settings),
    head: () => {
      const { size, root, counter } = signLog.head;
      return { vkey: signerKey, size, root, ...(hardware.logCounter !== "none" && { counter }) };
    },
    clock,
    sleep: (ms) => delay(ms, undefined, { ref: false }),
  });
  const engine = createDerivingEngine({
    derive: (omniAccount) => deriveSecretKeyWith((data) => booted.key.mac(data), omniAccount),
    // The root key is more than the engine's: it is let go of last.
    destroy: () => undefined,
  });
  const policy = createSignPolicy({
    broker: broker.issuer,
    keys: remoteSessionKeys(`${broker.url}/.well-known/agentkeys-session-jwks.json`),
    clock,
    generalMessages,
    ...(allowance && { allowance }),
  });
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
        .service(SignLogService, createSignLogService(signLog)),
    interceptors: [admission.interceptor],
    ...{ readiness, log, clock, random },
  });
  origins = ownOrigins(server, publicUrl);
  return server;
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

function headOf({ head }: MerkleSignLog): { size: bigint; root: string } {
  return { size: BigInt(head.size), root: Buffer.from(head.root).toString("hex") };
}

async function logKeyOf(key: RootKey, signer: string): Promise<string> {
  const seed = await deriveFor(key, "log");
  try {
    return formatVerifierKey(createNoteSigner(signer, seed).key);
  } finally {
    seed.fill(0);
  }
}

/** RFC 8410: the last 32 bytes of the SubjectPublicKeyInfo. */
function rawEd25519(key: KeyObject): Uint8Array {
  return createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
}

function namesOf({ listen, publicUrl }: TeeSettings): string[] {
  const names = new Set([listen.host, ...(publicUrl === undefined ? [] : [new URL(publicUrl).hostname])]);
  return [...names].map(withoutBrackets);
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, "");
}
