import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";

import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { BackupService } from "@agentkeys/gen/agentkeys/keys/v1/backup_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { claimsDigest, parseClaims } from "@agentkeys/lib/evidence/claims";
import { softVerifier } from "@agentkeys/lib/evidence/soft";
import { beginActivation, tpm2Verifier } from "@agentkeys/lib/evidence/tpm2";
import { createLog } from "@agentkeys/lib/log";
import type { RunningServer } from "@agentkeys/lib/rpc";
import { extendPcr } from "@agentkeys/lib/tpm2";
import { hasSwtpm, startTestTpm, type TestTpm } from "@agentkeys/lib/tpm2/testing/swtpm";

import { builtProgram } from "./testing/built-program.ts";
import { readTeeSettings } from "./settings-tee.ts";
import { type RunningTeeWorker, startTeeWorker } from "./start-tee.ts";

const CODE = createHash("sha256").update("code").digest();

describe.skipIf(!hasSwtpm("the TEE worker's start", process.env))("the TEE worker", () => {
  const folder = mkdtempSync(join(tmpdir(), "agentkeys-start-tee-"));
  let tpm: TestTpm;
  let env: Record<string, string>;
  let program: string;
  const logged: string[] = [];
  const log = createLog("keys", { level: "debug", destination: { write: (line) => void logged.push(line) } });

  beforeAll(async () => {
    // Built once: a dozen processes each reading all of the sources take half a minute.
    program = builtProgram(join(import.meta.dirname, "main-tee.ts"), folder);
    tpm = await startTestTpm();
    env = {
      AGENTKEYS_KEYS_LISTEN: "127.0.0.1:0",
      AGENTKEYS_KEYS_BROKER_URL: "http://127.0.0.1:1",
      AGENTKEYS_TEE_SIGNER: "signer-1.example",
      AGENTKEYS_TEE_STATE_DIR: join(folder, "state"),
      AGENTKEYS_TEE_TPM: `unix:${tpm.address.unix}`,
      AGENTKEYS_TEE_SEAL_PCRS: "11",
      NODE_ENV: "production",
    };
    await measure(CODE);
  });
  afterAll(async () => {
    await tpm.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function measure(code: Uint8Array): Promise<void> {
    const connection = await tpm.open();
    await connection.use((t) => extendPcr(t, 11, code));
    await connection.close();
  }

  const start = (allowGenesis: boolean, changes: Record<string, string> = {}): Promise<RunningTeeWorker> =>
    startTeeWorker(readTeeSettings({ ...env, ...changes }), { allowGenesis }, { log });

  const transportTo = (server: RunningServer) =>
    createConnectTransport({ baseUrl: server.url, httpVersion: "2", nodeOptions: { rejectUnauthorized: false } });
  const clientOf = (server: RunningServer) => createClient(KeyService, transportTo(server));

  /** Runs main-tee.ts, built, as a process of its own; gives its status and what it said. */
  async function run(changes: Record<string, string>, ...args: string[]): Promise<{ code: number; text: string }> {
    return runAnd(() => undefined, changes, ...args);
  }

  /** The same, with what is to be done whenever it said more. */
  async function runAnd(
    onText: (text: string, child: ChildProcess) => void,
    changes: Record<string, string>,
    ...args: string[]
  ): Promise<{ code: number; text: string }> {
    const child = spawn(process.execPath, [program, ...args], {
      env: { PATH: process.env["PATH"], ...env, ...changes },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let text = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (part: string) => onText((text += part), child));
    const [code] = (await once(child, "close")) as [number];
    return { code, text };
  }

  test("ends with 78 where a setting is wrong, and with 42 where nobody allowed it to begin", async () => {
    const secret = "5ec4e7".padEnd(64, "0");
    const wrong = await run({ DEV_KEY_SERVICE_MASTER_SECRET: secret });
    expect(wrong).toMatchObject({ code: 78 });
    expect(wrong.text).toContain("DEV_KEY_SERVICE_MASTER_SECRET must not be set");
    expect(wrong.text).not.toContain(secret);

    const cleartext = await run({ AGENTKEYS_KEYS_BROKER_URL: "http://broker.example" });
    expect(cleartext).toMatchObject({ code: 78 });
    expect(cleartext.text).toContain("AGENTKEYS_KEYS_BROKER_URL must begin with https://, except on loopback");

    const plan = join(folder, "backup.json");
    writeFileSync(plan, JSON.stringify({ version: 1, threshold: 2 }));
    const noPlan = await run({ AGENTKEYS_TEE_BACKUP: plan }, "--allow-genesis");
    expect(noPlan).toMatchObject({ code: 78 });
    expect(noPlan.text).toContain("AGENTKEYS_TEE_BACKUP names a file that cannot be used: recovery_key is missing");

    const refused = await run({});
    expect(refused).toMatchObject({ code: 42 });
    expect(refused.text).toContain("GENESIS_NOT_ALLOWED");
    const withoutBackup = await run({}, `--recover=${plan}`);
    expect(withoutBackup).toMatchObject({ code: 42 });
    expect(withoutBackup.text).toContain("--recover needs AGENTKEYS_TEE_BACKUP");
    expect(readdirSync(join(folder, "state"))).toEqual([]);
  });

  test("ends with 42 where the machine gives no evidence, and makes no master secret there", async () => {
    const refused = await run({ AGENTKEYS_TEE_EVIDENCE: "azure-cvm" }, "--allow-genesis");
    expect(refused).toMatchObject({ code: 42 });
    expect(refused.text).toContain('"reason":"NO_EVIDENCE"');
    expect(refused.text).toContain("no confidential VM of Azure");
    expect(readdirSync(join(folder, "state"))).toEqual([]);
  });

  test("attests its TLS key, its identity and its log, by a quote over the code, and is itself again after a restart", async () => {
    const seen: { identity: string; spki: string; bootId: string; size: number; counter: number }[] = [];
    for (const allowGenesis of [true, false]) {
      const server = await start(allowGenesis);
      const answer = await clientOf(server).getAttestation({ nonceHex: "ab".repeat(16) });
      const claims = parseClaims(answer.claims);
      expect(claims.settings).toEqual({
        broker_issuer: "http://127.0.0.1:1",
        broker_url: "http://127.0.0.1:1",
        counters: "tpm2",
        general_messages: false,
        root_key: "memory",
        sealed_to: "pcrs 11",
        sealer: "tpm2",
      });
      const { challenge, finish } = beginActivation(answer);
      const { secret } = await clientOf(server).activateCredential({
        credentialBlob: challenge.credential,
        encryptedSecret: challenge.encryptedSeed,
      });
      const activated = finish(secret);
      const verified = tpm2Verifier.verify(
        answer,
        { nonce: claims.nonce, reportData: claimsDigest(answer.claims), at: new Date() },
        {
          code: [{ name: "pcr11", values: [createHash("sha256").update(Buffer.alloc(32)).update(CODE).digest("hex")] }],
          identity: { by: "ek-key", keys: [activated.ekKey], activated },
        },
      );
      expect(verified.identity["ak_name"]).toMatch(/^000b/);
      seen.push({
        identity: Buffer.from(claims.identityKey).toString("hex"),
        spki: Buffer.from(claims.tlsSpkiSha256).toString("hex"),
        bootId: claims.bootId,
        size: claims.log.size,
        counter: claims.nvCounter ?? 0,
      });
      await server.close();
    }
    const [first, second] = seen;
    expect(second?.identity).toBe(first?.identity);
    expect(second?.spki).not.toBe(first?.spki);
    expect(second?.bootId).not.toBe(first?.bootId);
    expect(second?.size).toBeGreaterThan(first?.size ?? Infinity);
    expect(second?.counter).toBeGreaterThanOrEqual(first?.counter ?? Infinity);
  });

  test("serves nobody without a session, speaks TLS 1.3 only, and serves both shapes of its routes", async () => {
    const server = await start(false);
    const omniAccount = "ab".repeat(32);
    await expect(clientOf(server).deriveAddress({ omniAccount })).rejects.toThrow(/session/);
    await expect(clientOf(server).signMessage({ omniAccount, messageHex: "00" })).rejects.toThrow(/session/);
    // A worker that is no custodian has no such service.
    await expect(createClient(BackupService, transportTo(server)).getBackupChallenge({})).rejects.toMatchObject({
      code: Code.Unimplemented,
    });
    expect(readdirSync(join(folder, "state"))).not.toContain("shares");
    const old = connectTls({ port: server.port, host: "127.0.0.1", maxVersion: "TLSv1.2", rejectUnauthorized: false });
    const [error] = (await once(old, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
    await server.close();
  });

  test("serves what it counts on loopback, and what its audit found in its log lines", async () => {
    const server = await start(false, { AGENTKEYS_KEYS_METRICS_LISTEN: "127.0.0.1:0" });
    await expect(clientOf(server).deriveAddress({ omniAccount: "ab".repeat(32) })).rejects.toThrow(/session/);
    const scrape = async (): Promise<string> => (await fetch(server.metricsUrl ?? "")).text();
    await expect
      .poll(scrape, { timeout: 10_000 })
      .toContain('agentkeys_calls_total{method="agentkeys.keys.v1.KeyService/DeriveAddress",code="unauthenticated"} 1');
    await expect.poll(() => logged.join(""), { timeout: 10_000 }).toContain('"msg":"sign log audited"');
    await server.close();
  });

  test("vouches for nothing, and says so, by soft evidence; and claims that it speaks to its broker in cleartext", async () => {
    const issuer = join(folder, "issuer.json");
    const server = await start(false, {
      NODE_ENV: "development",
      AGENTKEYS_KEYS_BROKER_URL: "http://broker:8091",
      AGENTKEYS_TEE_INSECURE_BROKER: "development",
      AGENTKEYS_TEE_EVIDENCE: "soft",
      AGENTKEYS_TEE_SOFT_SIGNER: issuer,
    });
    expect(statSync(issuer).mode & 0o777).toBe(0o600);
    const answer = await clientOf(server).getAttestation({ nonceHex: "ab".repeat(16) });
    const claims = parseClaims(answer.claims);
    expect(claims.settings).toMatchObject({ broker_url: "http://broker:8091", insecure_broker: "development" });
    const root = /"root_sha256":"([0-9a-f]{64})"/.exec(logged.join(""))?.[1] ?? "";
    const verified = softVerifier.verify(
      answer,
      { nonce: claims.nonce, reportData: claimsDigest(answer.claims), at: new Date() },
      {
        development: true,
        roots: [root],
        code: [{ name: "version", values: [claims.signerVersion] }],
        identity: [{ name: "signer", values: ["signer-1.example"] }],
        maxAgeMs: 60_000,
        clockSkewMs: 2_000,
      },
    );
    expect(verified.type).toBe("soft");
    await server.close();
  });

  test("a second one is refused while the first runs, which goes on; not any more when that one is gone", async () => {
    const server = await start(false);
    const second = await run({});
    expect(second).toMatchObject({ code: 42 });
    expect(second.text).toContain('"reason":"IN_USE"');
    await expect(clientOf(server).getAttestation({ nonceHex: "ab".repeat(16) })).resolves.toBeDefined();
    await server.close();
    await (await start(false)).close();
  });

  test("opens its memory to no debugger, whoever asks it to", async () => {
    const asked = await run({ NODE_OPTIONS: "--inspect=0" });
    expect(asked).toMatchObject({ code: 78 });
    expect(asked.text).toContain("NODE_OPTIONS must not");
    let signals = 0;
    const signalled = await runAnd((text, child) => {
      if (!text.includes("sign log audited") || signals++ > 0) return;
      child.kill("SIGUSR1");
      child.kill("SIGTERM");
    }, {});
    expect(signalled).toMatchObject({ code: 0 });
    expect(signalled.text).not.toContain("Debugger listening");
  });

  test("one at the same TPM with another disk, or another place for the root key, is refused, and nothing changes", async () => {
    const before = readFileSync(join(folder, "state", "state.json"), "utf8");
    await expect(start(true, { AGENTKEYS_TEE_ROOT_KEY: "tpm" })).rejects.toMatchObject({ refusal: "STATE_DAMAGED" });
    await expect(start(true, { AGENTKEYS_TEE_STATE_DIR: join(folder, "wiped") })).rejects.toMatchObject({
      refusal: "STATE_MISSING",
    });
    expect(readFileSync(join(folder, "state", "state.json"), "utf8")).toBe(before);
  });

  test("ends with 42, and says which PCR, where other code was measured", async () => {
    await measure(Buffer.alloc(32, 1));
    const refused = await run({}, "--allow-genesis");
    expect(refused).toMatchObject({ code: 42 });
    expect(refused.text).toContain('"reason":"MEASUREMENT"');
    expect(refused.text).toContain('"pcr":11');
  });

  test("neither its log lines nor its disk have a root key in them", () => {
    expect(logged.join("")).toContain("root key opened");
    expect(logged.join("")).not.toMatch(/"(seed|secret|master|private)/i);
  });
});
