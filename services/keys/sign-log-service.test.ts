import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { SignLogService } from "@agentkeys/gen/agentkeys/keys/v1/sign_log_service_pb";
import type { OmniAccount } from "@agentkeys/lib/account";
import { checksumAddress, type EvmAddress, recoverEip191 } from "@agentkeys/lib/ethereum";
import { createLog } from "@agentkeys/lib/log";
import { Readiness, type RunningServer, serve } from "@agentkeys/lib/rpc";
import { authenticate, createDpopVerifier, type Session } from "@agentkeys/lib/session";
import { leafHash, verifyCheckpoint, verifyConsistency, verifyInclusion } from "@agentkeys/lib/tlog";

import { createKeyService } from "./key-service.ts";
import { createSignLogService } from "./sign-log-service.ts";
import { type Disk, onDisk } from "./sign-log/testing/flaky-files.ts";
import { freshLog, vkey } from "./sign-log/testing/harness.ts";
import { createRateLimit, createSignPolicy } from "./sign-policy/index.ts";
import { BROKER, bytesOf, challengingBroker, linesOf, NOW } from "./sign-policy/testing/broker.ts";
import type { SigningEngine } from "./signing-engine.ts";
import { createSigningEngine } from "./signing.ts";

const account = "ab".repeat(32) as OmniAccount;
const stranger = "cd".repeat(32) as OmniAccount;
const engine = createSigningEngine(Buffer.alloc(32, 3));
const derivations = { count: 0, failing: false };
const watched: SigningEngine = {
  ...engine,
  walletOf: async (omniAccount) => {
    derivations.count++;
    if (derivations.failing) throw new Error("the TPM is gone");
    return engine.walletOf(omniAccount);
  },
};

let made: Awaited<ReturnType<typeof freshLog>>;
let disk: Disk;
let broker: Awaited<ReturnType<typeof challengingBroker>>;
let address: EvmAddress;
let server: RunningServer;

beforeAll(async () => {
  made = await freshLog({
    settleEvery: 8,
    wrap: (files) => {
      const wrapped = onDisk(files);
      disk = wrapped.disk;
      return wrapped.files;
    },
  });
  broker = await challengingBroker();
  ({ address } = await engine.walletOf(account));
  const clock = (): number => NOW;
  const policy = createSignPolicy({ broker: BROKER, keys: broker.keys, clock, allowance: { times: 30, seconds: 60 } });
  // Tokens are the accounts themselves: what makes a session good is tested elsewhere.
  const verify = (token: string): Promise<Session> =>
    Promise.resolve({
      ...{ id: `session-of-${token.slice(0, 2)}`, kind: "identity", subject: token as OmniAccount, restricted: false },
      ...{ anchor: token as OmniAccount, identity: token as OmniAccount, issuedAt: 0, expiresAt: Infinity },
    });
  server = await serve({
    service: "keys",
    listen: { host: "127.0.0.1", port: 0 },
    services: [KeyService, SignLogService],
    routes: (router) =>
      router
        .service(KeyService, createKeyService({ engine: watched, signLog: made.log, policy }))
        .service(
          SignLogService,
          createSignLogService(made.log, createRateLimit({ times: 40, seconds: 60 }, clock, "pages")),
        ),
    interceptors: [authenticate({ verifier: { verify }, dpop: createDpopVerifier({ origins: () => [], clock }) })],
    readiness: new Readiness(),
    log: createLog("keys", { level: "silent" }),
  });
});
afterAll(async () => {
  await server.close();
  await made.remove();
});

interface Answer {
  status: number;
  reason: string | undefined;
  body: Record<string, unknown>;
}

async function call(path: string, body?: unknown, as?: OmniAccount): Promise<Answer> {
  const response = await fetch(server.url + path, {
    method: body === undefined ? "GET" : "POST",
    headers: { "content-type": "application/json", ...(as !== undefined && { authorization: `Bearer ${as}` }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as Answer["body"] & { details?: { debug: { reason: string } }[] };
  return { status: response.status, reason: answer.details?.[0]?.debug.reason, body: answer };
}

let challenges = 0;
/** A challenge that the broker made for the account's wallet, as the daemon hands it on. */
async function challenge(changes: Parameters<typeof linesOf>[0] = {}): Promise<{ message: Uint8Array; body: object }> {
  const requestId = `request-${String(++challenges).padStart(14, "0")}`;
  const message = bytesOf(linesOf({ address: checksumAddress(address), requestId, ...changes }));
  const token = await broker.tokenFor(message, { address });
  const body = { omni_account: account, message_hex: Buffer.from(message).toString("hex"), challenge_token: token };
  return { message, body };
}

const hashes = (list: unknown): Uint8Array[] => (list as string[]).map((hash) => Buffer.from(hash, "base64"));

interface Listed {
  checkpoint: string;
  entries: { index: string; entry: string; inclusion_proof: string[] }[];
  next_page_token: string;
}
const list = async (page: object = {}): Promise<Listed> =>
  (await call("/tee/log/entries", { omni_account: account, ...page }, account)).body as unknown as Listed;

test("an address is derived once, however often and at the same time it is asked for, and again after a failure", async () => {
  const other = "ef".repeat(32) as OmniAccount;
  const ask = (): Promise<Answer> => call("/tee/derive-address", { omni_account: other }, other);
  derivations.failing = true;
  expect((await ask()).status).toBe(500);
  derivations.failing = false;
  derivations.count = 0;
  const answers = await Promise.all(Array.from({ length: 20 }, ask));
  expect(new Set(answers.map(({ body }) => body["address"]))).toEqual(
    new Set([(await engine.walletOf(other)).address]),
  );
  expect(derivations.count).toBe(1);
});

describe("a signature", () => {
  test("names its entry, which its owner finds, and can prove to be in the log", async () => {
    const before = verifyCheckpoint((await call("/tee/log/checkpoint")).body["checkpoint"] as string, vkey);
    const { message, body } = await challenge();
    const signed = await call("/tee/sign-message", body, account);
    expect(signed).toMatchObject({ status: 200, body: { address, key_version: 1 } });
    expect(recoverEip191(message, signed.body["signature"] as string)).toBe(address);

    const { checkpoint, entries } = await list();
    const head = verifyCheckpoint(checkpoint, vkey);
    const own = entries.find(({ index }) => index === signed.body["log_index"]);
    const entry = Buffer.from(own!.entry, "base64");
    expect(JSON.parse(entry.toString())).toMatchObject({
      omni_account: account,
      outcome: "signed",
      caller: "session-of-ab",
    });
    verifyInclusion(leafHash(entry), Number(own!.index), head, hashes(own!.inclusion_proof));
    const proof = await call(`/tee/log/inclusion-proof?index=${own!.index}&size=${head.size}`);
    expect(proof.body["hashes"]).toEqual(own!.inclusion_proof);
    const path = `/tee/log/consistency-proof?from_size=${before.size}&to_size=${head.size}`;
    verifyConsistency(before, head, hashes((await call(path)).body["hashes"]));
  });

  test("that is refused is recorded as well, with its reason, and no signature leaves", async () => {
    const { body } = await challenge({ nonce: "short" });
    const refused = await call("/tee/sign-message", body, account);
    expect([refused.status, refused.reason]).toEqual([403, "MESSAGE_NOT_ALLOWED"]);
    const unnamed = await call("/tee/sign-message", { ...(await challenge()).body, challenge_token: "" }, account);
    expect([unnamed.status, unnamed.reason]).toEqual([403, "CHALLENGE_TOKEN_INVALID"]);
    const again = await challenge();
    expect((await call("/tee/sign-message", again.body, account)).status).toBe(200);
    expect((await call("/tee/sign-message", again.body, account)).reason).toBe("CHALLENGE_SPENT");
    const other = await call("/tee/sign-message", (await challenge()).body, stranger);
    expect([other.status, other.reason]).toEqual([403, "WRONG_ACCOUNT"]);
    expect(JSON.stringify([refused, unnamed, other])).not.toMatch(/0x[0-9a-f]{130}/);
    const outcomes = (await list()).entries.map(
      ({ entry }) => (JSON.parse(Buffer.from(entry, "base64").toString()) as { outcome: string }).outcome,
    );
    expect(outcomes.slice(0, 5)).toEqual([
      ...["WRONG_ACCOUNT", "CHALLENGE_SPENT", "signed", "CHALLENGE_TOKEN_INVALID", "MESSAGE_NOT_ALLOWED"],
    ]);
  });

  test("is not made while the disk has no room: SIGN_LOG_UNAVAILABLE, and it goes on afterwards", async () => {
    disk.room = 50;
    const full = await call("/tee/sign-message", (await challenge()).body, account);
    expect([full.status, full.reason]).toEqual([503, "SIGN_LOG_UNAVAILABLE"]);
    expect(JSON.stringify(full.body)).not.toMatch(/0x[0-9a-f]{130}/);
    disk.room = Infinity;
    expect((await call("/tee/sign-message", (await challenge()).body, account)).status).toBe(200);
  });
});

describe("the log", () => {
  test("shows an account's entries to its owner alone", async () => {
    const refused = await call("/tee/log/entries", { omni_account: account }, stranger);
    expect([refused.status, refused.reason]).toEqual([403, "WRONG_ACCOUNT"]);
    expect((await call("/tee/log/entries", { omni_account: account })).reason).toBe("SESSION_REQUIRED");
    const theirs = await call("/tee/log/entries", { omni_account: stranger }, stranger);
    expect(theirs.body["entries"]).toEqual([]);
  });

  test("is paged through to its beginning", async () => {
    const all = await list({ page_size: 200 });
    const seen: string[] = [];
    for (let token = ""; ;) {
      const page = await list({ page_size: 2, page_token: token });
      seen.push(...page.entries.map(({ index }) => index));
      if (page.next_page_token === "") break;
      token = page.next_page_token;
    }
    expect(seen).toEqual(all.entries.map(({ index }) => index));
    expect(seen.length).toBeGreaterThan(5);
  });

  test.each([
    ["/tee/log/inclusion-proof?index=1000000&size=1000001"],
    ["/tee/log/inclusion-proof?index=1&size=1"],
    ["/tee/log/consistency-proof?from_size=2&to_size=1"],
    ["/tee/log/consistency-proof?from_size=0&to_size=9007199254740991"],
  ])("answers %s with LOG_POSITION_UNKNOWN", async (path) => {
    const answer = await call(path);
    expect([answer.status, answer.reason]).toEqual([404, "LOG_POSITION_UNKNOWN"]);
  });

  test("takes no page token that it did not give", async () => {
    for (const page_token of ["x", "99999999", "-1"]) {
      const answer = await call("/tee/log/entries", { omni_account: account, page_token }, account);
      expect([answer.status, answer.reason]).toEqual([404, "LOG_POSITION_UNKNOWN"]);
    }
  });

  test("holds no message, in no file", () => {
    const files = readdirSync(made.folder, { recursive: true }).map((name) => join(made.folder, String(name)));
    const contents = files.filter((path) => statSync(path).isFile()).map((path) => readFileSync(path, "latin1"));
    expect(contents.join()).toContain(account);
    expect(contents.join()).not.toMatch(/wants you to sign in|00112233445566778899aabbccddeeff/);
  });
});

test("too many calls are refused, and fill nothing: they leave no entry", async () => {
  const outcomes: (string | undefined)[] = [];
  const body = { omni_account: account, message_hex: "00" };
  for (let i = 0; i < 40; i++) outcomes.push((await call("/tee/sign-message", body, account)).reason);
  expect(outcomes.at(-1)).toBe("RATE_LIMITED");
  const { size } = made.log.head;
  const limited = await call("/tee/sign-message", body, account);
  expect([limited.status, limited.reason]).toEqual([429, "RATE_LIMITED"]);
  expect(made.log.head.size).toBe(size);
  // It is the caller who is limited, not the account that somebody else's calls name.
  expect((await call("/tee/sign-message", body, stranger)).reason).toBe("WRONG_ACCOUNT");
});

test("too many pages of one account are refused, and another one still gets its own", async () => {
  const pages = (as: OmniAccount): Promise<Answer> => call("/tee/log/entries", { omni_account: as }, as);
  const somebody = "12".repeat(32) as OmniAccount;
  const answers = await Promise.all(Array.from({ length: 41 }, () => pages(somebody)));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(40);
  expect(answers.find(({ status }) => status === 429)).toMatchObject({ reason: "RATE_LIMITED" });
  expect((await pages("34".repeat(32) as OmniAccount)).status).toBe(200);
});
