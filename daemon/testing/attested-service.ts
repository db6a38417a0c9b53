import { createHash, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";

import type { Interceptor, ServiceImpl } from "@connectrpc/connect";

import { SignLogService } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { HOUR } from "@agentkeys/lib/clock";
import { selfSigned } from "@agentkeys/lib/evidence/certificate";
import { type Claims, claimsDigest, encodeClaims, signClaims } from "@agentkeys/lib/evidence/claims";
import { privateKeyOf, rawPublicKey } from "@agentkeys/lib/evidence/ed25519";
import { mediaTypes } from "@agentkeys/lib/evidence/evidence";
import { createTestRoot } from "@agentkeys/lib/evidence/testing/authority";
import { issueNitroDocument } from "@agentkeys/lib/evidence/testing/nitro";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { createLog } from "@agentkeys/lib/log";
import { systemRandom } from "@agentkeys/lib/random";
import { channelBinding, Readiness, type RunningServer, serve } from "@agentkeys/lib/rpc";

import { createNoteSigner, formatVerifierKey } from "@agentkeys/lib/tlog";

import { WALLET } from "./fake-services.ts";
import { createMemoryLog, type MemoryLog } from "./memory-log.ts";

/** A TLS key and its self-signed certificate. */
export interface TlsIdentity {
  tls: { cert: Buffer; key: Buffer };
  /** SubjectPublicKeyInfo, DER. */
  spki: Buffer;
  spkiSha256: Buffer;
}

/** A key service that attests itself under a test root, as an enclave would. It signs nothing. */
export interface AttestedService extends RunningServer {
  /** The names of the calls that came in, in order. */
  calls: string[];
  identity: TlsIdentity;
  /** Its sign log, and the counter of its hardware: they may be changed. */
  log: MemoryLog;
  counter?: number;
  /** How many connections it was asked for evidence on. */
  connections(): number;
  /** Cuts every connection, and takes new ones. */
  drop(): Promise<void>;
}

export interface AttestedServiceOptions {
  clock: () => number;
  hardware?: TestHardware;
  identity?: TlsIdentity;
  /** Changes what it claims, before the evidence covers it. */
  claims?: (claims: Claims) => Claims;
  /** Changes what it answers, after that. */
  answer?: (answer: EvidenceAnswer) => EvidenceAnswer;
  /** The key in the evidence, where that is not the one of its TLS certificate. */
  documentKey?: Buffer | null;
  port?: number;
  handlers?: Partial<ServiceImpl<typeof KeyService>>;
  signLog?: Partial<ServiceImpl<typeof SignLogService>>;
}

interface EvidenceAnswer {
  mediaType: string;
  evidence: Uint8Array;
  endorsements: Uint8Array[];
  claims: Uint8Array;
  identitySignature: Uint8Array;
}

export const IDENTITY = privateKeyOf(Buffer.alloc(32, 0x1d));
export const IDENTITY_KEY = rawPublicKey(IDENTITY);
export const SIGNER = "signer-1.example";
export const LOG_SIGNER = createNoteSigner(SIGNER, Buffer.alloc(32, 0x10));
export const LOG_KEY = formatVerifierKey(LOG_SIGNER.key);
export const SETTINGS = { general_messages: false };
/** Which code, and whose: 48 bytes as lower-case hex. */
export const IMAGE = "5a".repeat(48);
export const OWNER = "0e".repeat(48);

export type TestHardware = ReturnType<typeof createTestHardware>;

/** What signs evidence, and the fingerprint of its root. */
export function createTestHardware(now: number) {
  const validity = { notBefore: new Date(now - 100 * 24 * HOUR), notAfter: new Date(now + 100 * 24 * HOUR) };
  const root = createTestRoot("Test root", { random: systemRandom, validity });
  const brief = { notBefore: new Date(now - 20 * 24 * HOUR), notAfter: new Date(now + 20 * 24 * HOUR) };
  const zone = root.authority("Test zone", { validity: brief });
  const leaf = zone.endEntity("Test enclave", { validity: brief });
  return {
    rootSha256: createHash("sha256").update(root.der).digest("hex"),
    sign: (o: { nonce: Uint8Array; reportData: Uint8Array; at: number; publicKey: Buffer | null }): Buffer =>
      issueNitroDocument(
        {
          moduleId: "i-0123456789abcdef0-enc0123456789abcdef",
          madeAt: new Date(o.at),
          source: "enclave",
          pcrs: new Map([
            [0, Buffer.from(IMAGE, "hex")],
            [1, Buffer.alloc(48, 1)],
            [2, Buffer.alloc(48, 2)],
            [3, Buffer.from(OWNER, "hex")],
          ]),
          publicKey: o.publicKey,
          userData: Buffer.from(o.reportData),
          nonce: Buffer.from(o.nonce),
        },
        { ...leaf, chain: zone.chain },
      ),
  };
}

/** A key, and a certificate for this machine. */
export function createTlsIdentity(now: number, key: KeyObject = p256()): TlsIdentity {
  const { pem } = selfSigned({
    key,
    names: ["127.0.0.1", "localhost"],
    subject: "worker",
    notBefore: new Date(now - HOUR),
    notAfter: new Date(now + 24 * HOUR),
    random: systemRandom,
  });
  const spki = new X509Certificate(pem).publicKey.export({ format: "der", type: "spki" });
  return {
    tls: { cert: Buffer.from(pem), key: Buffer.from(key.export({ format: "pem", type: "pkcs8" })) },
    spki,
    spkiSha256: createHash("sha256").update(spki).digest(),
  };
}

function p256(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

export async function startAttestedService(options: AttestedServiceOptions): Promise<AttestedService> {
  const { clock, hardware = createTestHardware(clock()), identity = createTlsIdentity(clock()) } = options;
  const calls: string[] = [];
  const exporters = new Set<string>();
  const record: Interceptor = (next) => async (req) => {
    calls.push(req.method.name);
    return await next(req);
  };
  const start = async (port: number): Promise<RunningServer> =>
    await serve({
      service: "attested",
      listen: { host: "127.0.0.1", port },
      tls: { ...identity.tls, minVersion: "TLSv1.3" },
      services: [KeyService, SignLogService],
      routes: (router) => {
        router.service(SignLogService, {
          getConsistencyProof: async ({ fromSize, toSize }) => {
            if (toSize > service.log.entries.length) {
              throw new Failure(ErrorReason.LOG_POSITION_UNKNOWN, "the log is not of that size");
            }
            return { hashes: await service.log.consistencyProof(Number(fromSize), Number(toSize)) };
          },
          ...options.signLog,
        });
        router.service(KeyService, {
          deriveAddress: () => ({ address: WALLET, keyVersion: 1 }),
          signMessage: () => ({ signature: "0x" + "11".repeat(65), address: WALLET, keyVersion: 1 }),
          getAttestation: async ({ nonceHex }, context) => {
            const { log } = service;
            const nonce = Buffer.from(nonceHex, "hex");
            const tlsExporter = context.values.get(channelBinding)?.tlsExporter() ?? Buffer.alloc(32);
            exporters.add(tlsExporter.toString("hex"));
            const genuine: Claims = {
              nonce,
              tlsExporter,
              tlsSpkiSha256: identity.spkiSha256,
              issuedAt: Math.floor(clock() / 1000),
              bootId: "b".repeat(22),
              identityKey: IDENTITY_KEY,
              signerVersion: "0.1.0",
              settings: SETTINGS,
              log: { vkey: LOG_KEY, size: log.entries.length, root: await log.root() },
              ...(service.counter !== undefined && { nvCounter: service.counter }),
            };
            const claims = encodeClaims(options.claims?.(genuine) ?? genuine);
            const at = clock();
            const reportData = claimsDigest(claims);
            const evidence = hardware.sign({
              nonce,
              reportData,
              at,
              publicKey: options.documentKey === undefined ? identity.spki : options.documentKey,
            });
            const answer = {
              ...{ mediaType: mediaTypes["aws-nitro"], evidence, endorsements: [], claims },
              identitySignature: signClaims(claims, IDENTITY),
            };
            return options.answer?.(answer) ?? answer;
          },
          ...options.handlers,
        });
      },
      interceptors: [record],
      readiness: new Readiness(),
      log: createLog("attested", { level: "silent" }),
      limits: { drainMs: 0 },
    });
  const service = {
    ...{ calls, identity },
    log: createMemoryLog(),
    connections: () => exporters.size,
    close: () => server.close(),
    async drop() {
      await server.close();
      server = await start(server.port);
    },
  } as AttestedService;
  let server = await start(options.port ?? 0);
  return Object.assign(service, { url: server.url, host: server.host, port: server.port });
}

/** A policy that the service keeps to, as the text of its file. */
export function policyFor(hardware: Pick<TestHardware, "rootSha256">, changes: object = {}): string {
  return JSON.stringify({
    version: 1,
    signer: SIGNER,
    channel: "tls-exporter",
    max_evidence_age_s: 60,
    reattest_every_s: 900,
    clock_skew_s: 30,
    identity_keys: [`ed25519:${IDENTITY_KEY.toString("hex")}`],
    settings: SETTINGS,
    log: { vkey: LOG_KEY },
    platforms: [
      {
        type: "aws-nitro",
        source: "enclave",
        roots_sha256: [hardware.rootSha256],
        code: { pcr0: [IMAGE] },
        identity: { pcr3: [OWNER] },
      },
    ],
    ...changes,
  });
}
