/**
 * Measures the TEE worker beside the development backend, in one run: npm run bench:tee
 *
 * From the start of a process to its port; an attested connection (TCP, TLS, quote, verification) against a plain one; SignMessage on both.
 * The TPM is swtpm: a chip takes tens to hundreds of times as long for a quote, and nothing of it for a signature.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";

import { openConnection } from "agentkeys/attestation/connection.ts";
import { appraise } from "@agentkeys/lib/attested/appraise";
import { askForEvidence } from "@agentkeys/lib/attested/ask";
import { draftPolicy } from "agentkeys/attestation/draft.ts";
import { parsePolicy } from "agentkeys/attestation/policy.ts";

import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { systemClock as clock } from "@agentkeys/lib/clock";
import { parseEvmAddress } from "@agentkeys/lib/ethereum";
import { createLog } from "@agentkeys/lib/log";
import { systemRandom as random } from "@agentkeys/lib/random";
import { Readiness, serve } from "@agentkeys/lib/rpc";
import { extendPcr } from "@agentkeys/lib/tpm2";
import { startTestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { RPC } from "../caller.ts";
import { median } from "../footprint.ts";
import { createLoadClient } from "../load-client.ts";
import { type Figures, measure } from "../measure.ts";
import { BROKER, makeBroker } from "../sign-log/broker.ts";
import { table } from "../table.ts";

const ROUNDS = 5;
const root = join(import.meta.dirname, "..", "..");
const folder = mkdtempSync(join(tmpdir(), "agentkeys-bench-tee-"));
const broker = await makeBroker();
const brokerServer = await serve({
  service: "broker",
  listen: { host: "127.0.0.1", port: 0 },
  services: [LoginService],
  routes: (router) => router.service(LoginService, { listRevokedSessions: () => ({ sessionIds: [] }) }),
  readiness: new Readiness(),
  pages: () => Promise.resolve(Response.json({ keys: [{ ...broker.publicJwk, alg: "ES256", use: "sig" }] })),
  log: createLog("broker", { level: "silent" }),
});
try {
  await measureStart();
  await measureServing();
} finally {
  await brokerServer.close();
  rmSync(folder, { recursive: true });
}

async function measureStart(): Promise<void> {
  execFileSync(process.execPath, [join(root, "build.mjs"), "keys", "keys-tee"], { stdio: "ignore" });
  const tpm = await startTestTpm();
  const connection = await tpm.open();
  await connection.use((t) => extendPcr(t, 11, random(32)));
  await connection.close();
  const worker = {
    AGENTKEYS_TEE_SIGNER: "bench.localhost",
    AGENTKEYS_TEE_STATE_DIR: join(folder, "worker"),
    AGENTKEYS_TEE_TPM: `unix:${tpm.address.unix}`,
    AGENTKEYS_TEE_SEAL_PCRS: "11",
  };
  const development = { DEV_KEY_SERVICE_MASTER_SECRET: "5e".repeat(32) };
  await start("keys-tee", worker, "--allow-genesis");
  const times: [number[], number[]] = [[], []];
  for (let i = 0; i < 2 * ROUNDS; i++) {
    times[0].push(await start("keys", development));
    times[1].push(await start("keys-tee", worker));
  }
  await tpm.stop();
  const [dev, tee] = times.map(median);
  print(
    ["start to listening, ms", "development", "worker", "more"],
    ["", ms(dev), ms(tee), ms((tee ?? 0) - (dev ?? 0))],
  );
}

/** Milliseconds from the start of a process to its log line that it listens; ends it then. */
async function start(program: string, env: Record<string, string>, ...args: string[]): Promise<number> {
  const began = performance.now();
  const child = spawn(process.execPath, [join(root, "dist", program, "main.js"), ...args], {
    env: { ...env, AGENTKEYS_KEYS_LISTEN: "127.0.0.1:0", AGENTKEYS_KEYS_BROKER_URL: brokerServer.url },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  for await (const line of createInterface(child.stdout)) {
    if (!line.includes('"msg":"listening"')) continue;
    const took = performance.now() - began;
    child.kill("SIGTERM");
    await ended;
    return took;
  }
  throw new Error(`${program} did not start`);
}

async function measureServing(): Promise<void> {
  const server = spawn(
    process.execPath,
    ["--import", "tsx", join(import.meta.dirname, "server.ts"), folder, brokerServer.url, BROKER],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const ended = once(server, "exit");
  const [line] = (await once(createInterface(server.stdout), "line")) as [string];
  const urls = JSON.parse(line) as { development: string; worker: string };
  await measureAttestation(urls.worker);
  await measureSignatures(urls);
  server.kill("SIGTERM");
  await ended;
}

async function measureAttestation(url: string): Promise<void> {
  const policyOf = async () => {
    const connection = await openConnection(url);
    const { answer, asked } = await askForEvidence(connection, { clock, random });
    connection.close();
    return parsePolicy(draftPolicy(answer, asked, { roots: [] }).text);
  };
  const policy = await policyOf();
  const [connecting, asking, verifying]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < 40; i++) {
    const began = performance.now();
    const connection = await openConnection(url);
    const connected = performance.now();
    const { answer, asked } = await askForEvidence(connection, { clock, random });
    const answered = performance.now();
    appraise(answer, asked, policy);
    verifying.push(performance.now() - answered);
    asking.push(answered - connected);
    connecting.push(connected - began);
    connection.close();
  }
  print(
    ["an attested connection, ms", "TCP and TLS", "evidence, round trip", "verification"],
    ["", ...[connecting, asking, verifying].map((all) => ms(median(all)))],
  );
}

async function measureSignatures(urls: { development: string; worker: string }): Promise<void> {
  const headers = { authorization: `Bearer ${broker.session}` };
  const rows = [["SignMessage", "in flight", "development per s", "worker per s", "ratio", "p50 ms", "p50 ms"]];
  const backends = await Promise.all(
    [urls.development, urls.worker].map(async (url) => {
      const client = createLoadClient(url);
      const derived = await client.post(RPC.deriveAddress, { omniAccount: broker.omniAccount }, headers);
      return { client, wallet: parseEvmAddress((JSON.parse(derived) as { address: string }).address) };
    }),
  );
  for (const [calls, inFlight] of [
    [200, 1],
    [800, 32],
  ] as const) {
    const rounds: Figures[][] = [];
    for (let i = 0; i < ROUNDS; i++) {
      const figures: Figures[] = [];
      for (const { client, wallet } of backends) {
        const prepare = async () => {
          const body = await broker.challenge(wallet);
          return () => client.post(RPC.signMessage, body, headers);
        };
        figures.push(await measure({ prepare }, calls, inFlight));
      }
      rounds.push(figures);
    }
    const of = (index: number, figure: (f: Figures) => number): number =>
      median(rounds.flatMap((figures) => (figures[index] === undefined ? [] : [figure(figures[index])])));
    const ratio = median(rounds.map(([a, b]) => (b?.perSecond ?? NaN) / (a?.perSecond ?? NaN)));
    rows.push([
      ...["", String(inFlight), of(0, (f) => f.perSecond).toFixed(0), of(1, (f) => f.perSecond).toFixed(0)],
      ...[`${(100 * ratio).toFixed(0)} %`, ms(of(0, (f) => f.p50)), ms(of(1, (f) => f.p50))],
    ]);
  }
  for (const { client } of backends) client.close();
  print(...rows);
}

function ms(value: number | undefined): string {
  return (value ?? NaN).toFixed(1);
}

function print(...rows: string[][]): void {
  console.log(`${table(rows)}\n`);
}
