import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";

import { createClient } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { encodeClaims, parseClaims, signClaims } from "@agentkeys/lib/evidence/claims";
import { systemRandom } from "@agentkeys/lib/random";
import { connectTransport } from "@agentkeys/lib/rpc";

import { explainCall } from "../call-problem.ts";
import type { Problem } from "../problem.ts";
import {
  type AttestedService,
  type AttestedServiceOptions,
  createTestHardware,
  createTlsIdentity,
  IDENTITY,
  policyFor,
  startAttestedService,
} from "../testing/attested-service.ts";
import { ACCOUNT, WALLET } from "../testing/fake-services.ts";
import { startRelay } from "../testing/relay.ts";
import { openAttestedConnections } from "./index.ts";

const START = Date.UTC(2030, 0, 1);
const hardware = createTestHardware(START);
let now = START;
const clock = (): number => now;
const folder = mkdtempSync(join(tmpdir(), "agentkeys-attested-"));
const cleanup: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];

beforeEach(() => void (now = START));
afterEach(async () => {
  rmSync(join(folder, "state"), { recursive: true, force: true });
  for (const undo of cleanup.splice(1).reverse()) await undo();
});

async function service(options: Partial<AttestedServiceOptions> = {}): Promise<AttestedService> {
  const started = await startAttestedService({ clock, hardware, ...options });
  cleanup.push(() => started.close());
  return started;
}

/** Derives an address by a channel to `url` under a policy; the answer, or the problem that a person would be told. */
async function caller(url: string, policy: string = policyFor(hardware)) {
  const policyFile = join(folder, "policy.json");
  writeFileSync(policyFile, policy, { mode: 0o600 });
  const connections = await openAttestedConnections({
    ...{ url, policyFile, clock, random: systemRandom },
    stateFolder: join(folder, "state"),
  });
  const client = createClient(KeyService, connectTransport(url, { connections }));
  return async (): Promise<string | Problem> => {
    try {
      return (await client.deriveAddress({ omniAccount: ACCOUNT })).address;
    } catch (error) {
      return explainCall(error, { name: "key service", url, setting: "AGENTKEYS_KEYS_URL" });
    }
  };
}

describe("a key service that is what the policy demands", () => {
  test("is called on the very connection that was attested, once for many calls", async () => {
    const genuine = await service();
    const call = await caller(genuine.url);
    expect(await Promise.all([call(), call(), call()])).toEqual([WALLET, WALLET, WALLET]);
    expect(await call()).toBe(WALLET);
    expect(genuine.calls).toEqual(["GetAttestation", ...Array.from({ length: 4 }, () => "DeriveAddress")]);
    expect(genuine.connections()).toBe(1);
  });

  test("is attested anew on a new connection", async () => {
    const genuine = await service();
    const call = await caller(genuine.url);
    expect(await call()).toBe(WALLET);
    await genuine.drop();
    expect(await call()).toBe(WALLET);
    expect(genuine.calls).toEqual(["GetAttestation", "DeriveAddress", "GetAttestation", "DeriveAddress"]);
    expect(genuine.connections()).toBe(2);
  });

  test("is attested anew after the policy's time, on the connection that is there", async () => {
    const genuine = await service();
    const call = await caller(genuine.url);
    await call();
    now += 899_000;
    await call();
    now += 1_000;
    expect(await call()).toBe(WALLET);
    expect(genuine.calls.filter((name) => name === "GetAttestation")).toHaveLength(2);
    expect(genuine.connections()).toBe(1);
  });

  test("is held to the policy as it stands when it is attested anew", async () => {
    const genuine = await service();
    const call = await caller(genuine.url);
    expect(await call()).toBe(WALLET);
    const stricter = { ...JSON.parse(policyFor(hardware)), identity_keys: [`ed25519:${"07".repeat(32)}`] } as object;
    writeFileSync(join(folder, "policy.json"), JSON.stringify(stricter), { mode: 0o600 });
    now += 900_000;
    expect(await call()).toMatchObject({ reason: "ATTESTATION_IDENTITY" });
    writeFileSync(join(folder, "policy.json"), "{}", { mode: 0o600 });
    expect(await call()).toMatchObject({ reason: "POLICY_INVALID" });
    expect(genuine.calls.filter((name) => name === "DeriveAddress")).toHaveLength(1);
    writeFileSync(join(folder, "policy.json"), policyFor(hardware, { reattest_every_s: 60 }), { mode: 0o600 });
    expect(await call()).toBe(WALLET);
    const before = genuine.calls.length;
    now += 60_000;
    expect(await call()).toBe(WALLET);
    expect(genuine.calls.slice(before)).toEqual(["GetAttestation", "DeriveAddress"]);
  });

  test("is attested anew when this machine's clock was put back", async () => {
    const genuine = await service();
    const call = await caller(genuine.url);
    await call();
    now -= 1;
    await call();
    expect(genuine.calls.filter((name) => name === "GetAttestation")).toHaveLength(2);
  });
});

describe("the sign log of a key service", () => {
  test("has to be the continuation of what this machine saw, on every connection", async () => {
    const genuine = await service();
    genuine.log.entries.push(Buffer.from("a"), Buffer.from("b"), Buffer.from("c"));
    const call = await caller(genuine.url);
    expect(await call()).toBe(WALLET);

    genuine.log.entries.push(Buffer.from("d"));
    await genuine.drop();
    expect(await call()).toBe(WALLET);
    expect(genuine.calls.slice(-3)).toEqual(["GetAttestation", "GetConsistencyProof", "DeriveAddress"]);

    genuine.log.entries[1] = Buffer.from("B");
    genuine.log.entries.push(Buffer.from("e"));
    await genuine.drop();
    expect(await call()).toMatchObject({ reason: "SIGN_LOG_FORKED" });
    genuine.log.entries.splice(2);
    expect(await call()).toMatchObject({ reason: "SIGN_LOG_ROLLED_BACK" });
    expect(genuine.calls.filter((name) => name === "DeriveAddress")).toHaveLength(2);
  });
});

describe("nothing but a nonce leaves, and the call fails, when", () => {
  /** Calls, and checks that nobody was sent anything that a stranger may not see. */
  async function refusedBy(started: AttestedService, policy?: string): Promise<Problem> {
    const call = await caller(started.url, policy);
    const outcome = await call();
    expect(started.calls).toEqual(["GetAttestation"]);
    expect(outcome).toMatchObject({ kind: "standing" });
    return outcome as Problem;
  }

  test("somebody on the way relays genuine evidence", async () => {
    const genuine = await service();
    const relay = await startRelay(genuine.url, createTlsIdentity(START));
    cleanup.push(() => relay.close());
    const call = await caller(relay.url);
    expect(await call()).toMatchObject({
      reason: "ATTESTATION_REPORT_DATA",
      message: expect.stringContaining("tls_spki") as string,
    });
    expect(relay.seen.map(({ path }) => path)).toEqual(["/agentkeys.keys.v1.KeyService/GetAttestation"]);
    expect(relay.seen.map(({ text }) => text).join()).not.toContain(ACCOUNT);
    expect(genuine.calls).toEqual(["GetAttestation"]);
  });

  test("somebody on the way has even the worker's TLS key", async () => {
    const genuine = await service();
    const relay = await startRelay(genuine.url, genuine.identity);
    cleanup.push(() => relay.close());
    const call = await caller(relay.url);
    expect(await call()).toMatchObject({
      reason: "ATTESTATION_REPORT_DATA",
      message: expect.stringContaining("tls_exporter") as string,
    });
    expect(genuine.calls).toEqual(["GetAttestation"]);
  });

  test("the key was swapped behind a connection that broke", async () => {
    const genuine = await service();
    const call = await caller(genuine.url);
    expect(await call()).toBe(WALLET);
    await genuine.close();
    const other = await service({
      port: genuine.port,
      claims: (c) => ({ ...c, tlsSpkiSha256: genuine.identity.spkiSha256 }),
    });
    expect(await call()).toMatchObject({ reason: "ATTESTATION_REPORT_DATA" });
    expect(other.calls).toEqual(["GetAttestation"]);
  });

  test("evidence for another nonce is replayed", async () => {
    let kept: Uint8Array | undefined;
    const replaying = await service({
      answer: (answer) => {
        kept ??= answer.evidence;
        return { ...answer, evidence: kept };
      },
    });
    expect(await (await caller(replaying.url))()).toBe(WALLET);
    replaying.calls.length = 0;
    const problem = await refusedBy(replaying);
    expect(problem.reason).toBe("ATTESTATION_NONCE");
  });

  test("claims for another nonce are replayed with their evidence", async () => {
    const replaying = await service({ claims: (c) => ({ ...c, nonce: Buffer.alloc(32) }) });
    expect(await refusedBy(replaying)).toMatchObject({ reason: "ATTESTATION_NONCE" });
  });

  test("the identity key signed other claims", async () => {
    const lying = await service({ answer: (answer) => ({ ...answer, identitySignature: Buffer.alloc(64) }) });
    expect(await refusedBy(lying)).toMatchObject({ reason: "ATTESTATION_IDENTITY" });
  });

  test("the evidence covers other claims", async () => {
    const lying = await service({
      answer: (answer) => {
        const claims = encodeClaims({ ...parseClaims(answer.claims), bootId: "c".repeat(22) });
        return { ...answer, claims, identitySignature: signClaims(claims, IDENTITY) };
      },
    });
    expect(await refusedBy(lying)).toMatchObject({ reason: "ATTESTATION_REPORT_DATA" });
  });

  test("a renewed appraisal fails: the connection is given up", async () => {
    let changed = false;
    const service1 = await service({ claims: (c) => (changed ? { ...c, settings: { general_messages: true } } : c) });
    const call = await caller(service1.url);
    expect(await call()).toBe(WALLET);
    changed = true;
    expect(await call()).toBe(WALLET);
    now += 900_000;
    expect(await call()).toMatchObject({
      reason: "ATTESTATION_MEASUREMENT",
      message: expect.stringContaining("general_messages is true, expected false") as string,
    });
    expect(await call()).toMatchObject({ reason: "ATTESTATION_MEASUREMENT" });
    expect(service1.calls.filter((name) => name === "DeriveAddress")).toHaveLength(2);
    expect(service1.connections()).toBe(2);
  });

  const otherPlatform = {
    type: "aws-nitro",
    source: "enclave",
    code: { pcr0: ["5b".repeat(48)] },
    identity: { pcr3: ["0e".repeat(48)] },
  };
  test.each<[string, string, Partial<AttestedServiceOptions>, object]>([
    ["its identity key is another", "IDENTITY", { claims: (c) => ({ ...c, identityKey: Buffer.alloc(32, 7) }) }, {}],
    [
      "its log is another",
      "IDENTITY",
      { claims: (c) => ({ ...c, log: { ...c.log, vkey: `other.example+a1b2c3d4+${"A".repeat(44)}` } }) },
      {},
    ],
    ["a setting is there that the policy does not know", "MEASUREMENT", {}, { settings: {} }],
    ["a setting is missing", "MEASUREMENT", {}, { settings: { general_messages: false, more: 1 } }],
    ["its hardware names another key", "REPORT_DATA", { documentKey: createTlsIdentity(START).spki }, {}],
    ["its hardware names no key", "REPORT_DATA", { documentKey: null }, {}],
    ["its claims are old", "STALE", { claims: (c) => ({ ...c, issuedAt: c.issuedAt - 62 }) }, {}],
    ["its claims are from the future", "STALE", { claims: (c) => ({ ...c, issuedAt: c.issuedAt + 32 }) }, {}],
    ["its claims cannot be read", "MALFORMED", { answer: (a) => ({ ...a, claims: Buffer.from("{}") }) }, {}],
    ["there are no claims", "MALFORMED", { answer: (a) => ({ ...a, claims: Buffer.alloc(0) }) }, {}],
    ["its evidence is none", "MALFORMED", { answer: (a) => ({ ...a, evidence: Buffer.from("x") }) }, {}],
    [
      "its evidence is of a kind that is not accepted",
      "NOT_ACCEPTED",
      { answer: (a) => ({ ...a, mediaType: "text/plain" }) },
      {},
    ],
    ["its hardware leads to another root", "ROOT", { hardware: createTestHardware(START) }, {}],
    [
      "its code is another",
      "MEASUREMENT",
      {},
      { platforms: [{ ...otherPlatform, roots_sha256: [hardware.rootSha256] }] },
    ],
  ])("%s", async (_, code, options, changes) => {
    expect(await refusedBy(await service(options), policyFor(hardware, changes))).toMatchObject({
      reason: `ATTESTATION_${code}`,
    });
  });

  test("it gives no evidence", async () => {
    const development = await service({ handlers: { getAttestation: () => Promise.reject(new Error("none")) } });
    const call = await caller(development.url);
    expect(await call()).toMatchObject({ reason: "INTERNAL" });
    expect(development.calls).toEqual(["GetAttestation"]);
  });
});

test("one of several accepted machines is enough", async () => {
  const genuine = await service();
  const { platforms } = JSON.parse(policyFor(hardware)) as { platforms: object[] };
  const other = { ...platforms[0], code: { pcr0: ["5b".repeat(48)] } };
  const call = await caller(genuine.url, policyFor(hardware, { platforms: [other, ...platforms] }));
  expect(await call()).toBe(WALLET);
});

describe("what is no key service is told from one that does not answer:", () => {
  test("cleartext", async () => {
    const server = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")).listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanup.push(() => server.close());
    const call = await caller(`https://127.0.0.1:${(server.address() as { port: number }).port}`);
    expect(await call()).toMatchObject({
      reason: "KEYS_UNREACHABLE",
      message: expect.stringContaining("does not speak TLS") as string,
    });
  });

  test("TLS without HTTP/2", async () => {
    const server = createTlsServer({ ...createTlsIdentity(START).tls, ALPNProtocols: ["http/1.1"] }).listen(
      0,
      "127.0.0.1",
    );
    await once(server, "listening");
    cleanup.push(() => server.close());
    const call = await caller(`https://127.0.0.1:${(server.address() as { port: number }).port}`);
    expect(await call()).toMatchObject({
      reason: expect.stringMatching(/^(NOT_THE_KEY_SERVICE|KEYS_UNREACHABLE)$/) as string,
    });
  });

  test("nothing listens", async () => {
    const genuine = await service();
    await genuine.close();
    const call = await caller(genuine.url);
    expect(await call()).toMatchObject({
      reason: "KEYS_UNREACHABLE",
      message: expect.stringContaining("nothing listens") as string,
    });
  });
});
