/**
 * Two key services in one process, on the same core: the development backend with its line log, and the parts of a TEE worker: the
 * same engine, the policy and the durable Merkle log. `server.ts <folder> <port> <broker's public key as JWK>`
 */
import { join } from "node:path";

import { importJWK, type JWK } from "jose";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { createKeyService, type KeyServiceParts } from "@agentkeys/keys/key-service.ts";
import { createJsonLinesLog, openLogFolder, openMerkleSignLog } from "@agentkeys/keys/sign-log/index.ts";
import { memoryCounter } from "@agentkeys/keys/sign-log/testing/counters.ts";
import { signer } from "@agentkeys/keys/sign-log/testing/harness.ts";
import { createSignPolicy } from "@agentkeys/keys/sign-policy/index.ts";
import { createSigningEngine } from "@agentkeys/keys/signing.ts";
import { systemClock as clock } from "@agentkeys/lib/clock";
import { createLog } from "@agentkeys/lib/log";
import { systemRandom as random } from "@agentkeys/lib/random";
import { Readiness, runUntilSignal, serve } from "@agentkeys/lib/rpc";
import { authenticate, createDpopVerifier, createSessionVerifier } from "@agentkeys/lib/session";

import { BROKER, MASTER_SECRET } from "./broker.ts";

const [, , folder = "", port = "", jwk = ""] = process.argv;
const brokerKey = await importJWK(JSON.parse(jwk) as JWK, "ES256");
const keys = (): typeof brokerKey => brokerKey;
const log = createLog("keys", { level: "warn" });

async function listen(at: number, parts: Omit<KeyServiceParts, "engine">): Promise<void> {
  const engine = createSigningEngine(Buffer.from(MASTER_SECRET));
  const server = await serve({
    service: "keys",
    listen: { host: "127.0.0.1", port: at },
    services: [KeyService],
    routes: (router) => router.service(KeyService, createKeyService({ engine, ...parts })),
    interceptors: [
      authenticate({
        verifier: createSessionVerifier({ issuer: BROKER, keys, isRevoked: () => Promise.resolve(false), clock }),
        dpop: createDpopVerifier({ origins: () => [], clock }),
      }),
    ],
    readiness: new Readiness(),
    log,
  });
  runUntilSignal(server, log);
}

const signLog = await openMerkleSignLog({
  files: await openLogFolder(join(folder, "log")),
  counter: memoryCounter(),
  begin: true,
  signer,
  clock,
  random,
});
const policy = createSignPolicy({ broker: BROKER, keys, clock, allowance: { times: 1e9, seconds: 60 } });
await listen(Number(port) + 1, { signLog, policy });
await listen(Number(port), { signLog: createJsonLinesLog({ path: join(folder, "lines.log"), clock }) });
