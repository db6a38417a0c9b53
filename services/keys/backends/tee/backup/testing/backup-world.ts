import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { BackupService } from "@agentkeys/gen/agentkeys/keys/v1/backup_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import type { Clock } from "@agentkeys/lib/clock";
import { identityKeyName, type SettingValue } from "@agentkeys/lib/evidence/claims";
import { signRecoveryTicket, type RecoveryTicket } from "@agentkeys/lib/evidence/recovery-ticket";
import { createLog, type Logger } from "@agentkeys/lib/log";
import { systemRandom } from "@agentkeys/lib/random";
import { Readiness, type RunningServer, serve } from "@agentkeys/lib/rpc";
import { createNoteSigner, formatVerifierKey } from "@agentkeys/lib/tlog";

import { createBackupService } from "../../../../backup-service.ts";
import { createAttestation } from "../../attestation.ts";
import type { EvidenceProvider } from "../../provider.ts";
import { makeSoftIssuer, type SoftIssuer, softProvider } from "../../providers/soft.ts";
import { ed25519KeyFor, memoryRootKey } from "../../root-key.ts";
import { createTlsIdentity } from "../../tls-identity.ts";
import { createTurnstile } from "../../turnstile.ts";
import { createChallenges } from "../challenge.ts";
import { createCustodian, type Custodian, type GivenOut } from "../custodian.ts";
import { openCustodyStore } from "../custody-store.ts";
import { rawPublicKey } from "@agentkeys/lib/evidence/ed25519";
import { createVoucher, type Voucher } from "../peer-evidence.ts";
import { type BackupPlan, readBackupPlan, readCustody } from "../plan.ts";

/** What every worker of this world is set to, and which code it runs: soft evidence says so. */
export const OWNER_SETTINGS = { general_messages: false } as const;
export const CODE = { version: "release 1" };
export const SIGNER = "signer-1.example";

/** Custodians on real sockets with soft evidence, an owner, and machines that would like to be it. */
export interface BackupWorld {
  custodians: RunningCustodian[];
  plan: BackupPlan;
  recoveryKey: KeyObject;
  now: number;
  clock: Clock;
  /** What was logged anywhere, a line each. */
  logged: string[];
  /** What vouches for a worker on a machine of this name. */
  voucher(
    machine: string,
    changes?: { code?: Record<string, string>; settings?: Record<string, SettingValue> },
  ): Voucher;
  ticket(changes?: Partial<RecoveryTicket>, key?: KeyObject): Promise<string>;
  close(): Promise<void>;
}

export interface RunningCustodian extends RunningServer {
  /** Where its shares are. */
  folder: string;
  identity: string;
  /** What it recorded, in order. */
  given: GivenOut[];
  /** Replaces what is behind its RPCs from now on: a custodian that lies. */
  behind: Custodian;
  /** What recording throws, if anything. */
  recordFails?: Error;
  /** Which RPCs were called. */
  calls: string[];
  off(): Promise<void>;
}

export async function startBackupWorld({ threshold = 2, shares = 3 } = {}): Promise<BackupWorld> {
  const logged: string[] = [];
  const log = createLog("keys", { level: "debug", destination: { write: (line) => void logged.push(line) } });
  const world = { now: Date.UTC(2030, 0, 1), logged } as BackupWorld;
  const clock = (): number => world.now;
  const recoveryKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const issuer = makeSoftIssuer({ clock, random: systemRandom });
  const providerOf = (machine: string, code: Record<string, string> = CODE): EvidenceProvider =>
    softProvider({ issuer, measurements: code, identity: { machine }, clock });

  const owners = await readCustody({ path: "/custody.json", text: custodyFor(issuer, recoveryKey) });
  const custodians = await Promise.all(
    Array.from({ length: shares }, (_, i) =>
      startCustodian({ name: `custodian-${i}`, provider: providerOf(`custodian-${i}`), owners, clock, log }),
    ),
  );
  const plan = await readBackupPlan({
    path: "/backup.json",
    text: planFor(custodians, { threshold, issuer, recoveryKey }),
  });
  return Object.assign(world, {
    ...{ custodians, plan, recoveryKey, clock },
    voucher: (machine: string, { code, settings = OWNER_SETTINGS }: Parameters<BackupWorld["voucher"]>[1] = {}) =>
      createVoucher({ provider: providerOf(machine, code), settings, version: "0.1.0", clock }),
    ticket: (changes: Partial<RecoveryTicket> = {}, key = recoveryKey) =>
      signRecoveryTicket(
        {
          backupId: "00".repeat(32),
          machine: { type: "soft", name: "machine", value: "new-machine" },
          issuedAt: world.now,
          expiresAt: world.now + 3_600_000,
          ...changes,
        },
        key,
      ),
    close: async () => {
      await Promise.all(custodians.map((each) => each.off()));
    },
  });
}

async function startCustodian(o: {
  name: string;
  provider: EvidenceProvider;
  owners: Awaited<ReturnType<typeof readCustody>>;
  clock: Clock;
  log: Logger;
}): Promise<RunningCustodian> {
  const { name, provider, owners, clock, log } = o;
  const key = memoryRootKey(randomBytes(32));
  const identityKey = await ed25519KeyFor(key, "identity");
  const tls = createTlsIdentity({ names: ["127.0.0.1"], clock, random: systemRandom });
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-custody-"));
  const sleep = (): Promise<void> => Promise.resolve();
  const running = { folder, given: [] as GivenOut[], calls: [] as string[] } as unknown as RunningCustodian;
  running.behind = createCustodian({
    ...{ owners, identityKey, log, clock },
    store: await openCustodyStore(folder, { key, random: systemRandom }),
    challenges: createChallenges({ clock, random: systemRandom }),
    record: (given) => {
      if (running.recordFails !== undefined) return Promise.reject(running.recordFails);
      running.given.push(given);
      return Promise.resolve();
    },
  });
  const now: Custodian = {
    challenge: (exporter) => running.behind.challenge(exporter),
    deposit: (deposit) => running.behind.deposit(deposit),
    recover: (request) => running.behind.recover(request),
  };
  const attestation = createAttestation({
    ...{ provider, clock, sleep },
    bootId: "b".repeat(32),
    spkiSha256: tls.spkiSha256,
    identityKey,
    version: "0.1.0",
    minSecurityVersion: () => undefined,
    settings: { general_messages: false },
    head: () => ({ vkey: vkeyOf(name), size: 0, root: createHash("sha256").digest() }),
  });
  const server = await serve({
    service: "keys",
    listen: { host: "127.0.0.1", port: 0 },
    tls: tls.tls,
    services: [KeyService, BackupService],
    routes: (router) =>
      router
        .service(KeyService, attestation)
        .service(
          BackupService,
          createBackupService(
            now,
            createTurnstile({ clock, sleep, perMinute: 1000, waiting: { ofOne: 10, ofAll: 100 } }),
          ),
        ),
    interceptors: [
      (next) => async (request) => {
        running.calls.push(request.method.name);
        return await next(request);
      },
    ],
    readiness: new Readiness(),
    limits: { drainMs: 0 },
    ...{ log, clock },
  });
  return Object.assign(running, server, {
    identity: identityKeyName(rawPublicKey(identityKey)),
    off: () => server.close(),
  });
}

function vkeyOf(name: string): string {
  return formatVerifierKey(createNoteSigner(name, createHash("sha256").update(name).digest()).key);
}

/** The SHA-256 of the issuer's root. */
function rootOf({ certificates }: SoftIssuer): string {
  return createHash("sha256")
    .update(certificates.at(-1) ?? "")
    .digest("hex");
}

function platformOf(issuer: SoftIssuer, machine: string): object {
  return {
    type: "soft",
    development: true,
    roots_sha256: [rootOf(issuer)],
    code: { version: [CODE.version] },
    identity: { machine: [machine] },
  };
}

function custodyFor(issuer: SoftIssuer, recoveryKey: KeyObject): string {
  const owner = {
    signer: SIGNER,
    recovery_key: pemOf(recoveryKey),
    max_evidence_age_s: 60,
    clock_skew_s: 30,
    settings: OWNER_SETTINGS,
    platforms: [platformOf(issuer, "owner-machine")],
  };
  return JSON.stringify({ version: 1, owners: [owner] });
}

function planFor(
  custodians: readonly RunningCustodian[],
  { threshold, issuer, recoveryKey }: { threshold: number; issuer: SoftIssuer; recoveryKey: KeyObject },
): string {
  return JSON.stringify({
    version: 1,
    threshold,
    recovery_key: pemOf(recoveryKey),
    custodians: custodians.map(({ url, identity }, i) => ({
      url,
      policy: {
        version: 1,
        signer: `custodian-${i}`,
        channel: "tls-exporter",
        max_evidence_age_s: 60,
        reattest_every_s: 900,
        clock_skew_s: 30,
        identity_keys: [identity],
        settings: { general_messages: false },
        log: { vkey: vkeyOf(`custodian-${i}`) },
        platforms: [platformOf(issuer, `custodian-${i}`)],
      },
    })),
  });
}

export function pemOf(key: KeyObject): string {
  return createPublicKey(key).export({ format: "pem", type: "spki" }).toString();
}
