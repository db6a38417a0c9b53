import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { Hono } from "hono";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import type { OmniAccount } from "@agentkeys/lib/account";
import { createLog } from "@agentkeys/lib/log";
import { systemRandom } from "@agentkeys/lib/random";
import { Readiness, type RunningServer, serve } from "@agentkeys/lib/rpc";
import { createDpopKey, type DpopKey, generateDpopKey } from "@agentkeys/lib/session";

import type { KeyServiceSettings } from "./settings.ts";
import { createSigningEngine } from "./signing.ts";
import { startKeyService } from "./start.ts";

const MASTER = "c0ffee".padEnd(64, "17");
const account = "ab".repeat(32);
const lines: string[] = [];
const log = createLog("keys", { level: "debug", destination: { write: (line) => void lines.push(line) } });
const folder = mkdtempSync(join(tmpdir(), "agentkeys-keys-"));
const running: RunningServer[] = [];
afterAll(async () => {
  await Promise.all(running.map((server) => server.close()));
  rmSync(folder, { recursive: true });
});

let logs = 0;
async function start(
  settings: Partial<KeyServiceSettings> = {},
): Promise<{ url: string; signLog: string; server: RunningServer }> {
  const signLog = join(folder, `sign-${++logs}.log`);
  const server = await startKeyService(
    {
      listen: { host: "127.0.0.1", port: 0 },
      masterSecret: Buffer.from(MASTER, "hex"),
      logLevel: "debug",
      signLog,
      ...settings,
    },
    { log },
  );
  running.push(server);
  return { url: server.url, signLog: settings.signLog ?? signLog, server };
}

interface Answer {
  status: number;
  body: Record<string, unknown> & { details?: { debug: { reason: string } }[] };
}

async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const init = {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  };
  const response = await fetch(url, init);
  return { status: response.status, body: (await response.json()) as Answer["body"] };
}
const reasonOf = ({ body }: Answer): string | undefined => body.details?.[0]?.debug.reason;

describe("without a broker, on loopback", () => {
  let url: string;
  let signLog: string;
  beforeAll(async () => {
    ({ url, signLog } = await start());
  });

  test.each(["dev", "tee"])("/%s/derive-address and sign-message answer as the contract says", async (prefix) => {
    const expected = createSigningEngine(Buffer.from(MASTER, "hex"));
    const derived = await post(`${url}/${prefix}/derive-address`, { omni_account: account });
    const { address } = await expected.walletOf(account as OmniAccount);
    expect(derived).toEqual({ status: 200, body: { address, key_version: 1 } });
    const signed = await post(`${url}/${prefix}/sign-message`, { omniAccount: account, message_hex: "0x6869" });
    const { signature } = await expected.sign(account as OmniAccount, Buffer.from("hi"));
    expect(signed).toEqual({ status: 200, body: { signature, address, key_version: 1 } });
  });

  test("every signature leaves one line: who, what, when, with which key, and never the message", async () => {
    const before = readFileSync(signLog, "utf8").split("\n").length;
    await post(`${url}/dev/sign-message`, {
      omni_account: account,
      message_hex: Buffer.from("canary message").toString("hex"),
    });
    const written = readFileSync(signLog, "utf8")
      .split("\n")
      .slice(before - 1, -1);
    expect(written).toHaveLength(1);
    expect(JSON.parse(written[0] ?? "")).toMatchObject({
      event: "sign",
      omni_account: account,
      message_sha256: createHash("sha256").update("canary message").digest("hex"),
      key_version: 1,
      caller: "loopback",
      outcome: "signed",
    });
    expect(readFileSync(signLog, "utf8")).not.toMatch(/canary|63616e617279/);
  });

  test.each([
    ["origin", "https://evil.example"],
    ["origin", "http://127.0.0.1:1"],
    ["sec-fetch-site", "cross-site"],
    ["x-forwarded-for", "203.0.113.9"],
    ["forwarded", "for=203.0.113.9"],
  ])("a web page is refused: %s: %s", async (name, value) => {
    const answer = await post(`${url}/dev/sign-message`, { omni_account: account, message_hex: "" }, { [name]: value });
    expect([400, 401]).toContain(answer.status);
    expect(answer.body).not.toHaveProperty("signature");
  });

  test("bad input is refused with the field's name, and changes nothing", async () => {
    const before = readFileSync(signLog, "utf8");
    for (const bad of [
      { omni_account: "AB".repeat(32), message_hex: "" },
      { omni_account: account.slice(1), message_hex: "" },
      { omni_account: "", message_hex: "" },
    ]) {
      const answer = await post(`${url}/dev/sign-message`, bad);
      expect([answer.status, reasonOf(answer)]).toEqual([400, "INVALID_OMNI_ACCOUNT"]);
    }
    for (const message_hex of ["abc", "zz", "0x0", "ab".repeat(65_537), 5, null, ["00"]]) {
      const answer = await post(`${url}/dev/sign-message`, { omni_account: account, message_hex });
      // null is proto JSON's way to leave a field out.
      expect(answer.status).toBe(message_hex === null ? 200 : 400);
    }
    expect(readFileSync(signLog, "utf8").replace(before, "").split("\n").filter(Boolean)).toHaveLength(1);
  });

  test("64 KiB of message are signed", async () => {
    const answer = await post(`${url}/dev/sign-message`, { omni_account: account, message_hex: "ab".repeat(65_536) });
    expect(answer.status).toBe(200);
  });

  test("there is no attestation to be had", async () => {
    const answer = await post(`${url}/tee/attestation`, { nonce_hex: "00".repeat(32) });
    expect([answer.status, reasonOf(answer)]).toEqual([501, "NOT_SERVED"]);
  });

  test("when the record cannot be written, nothing is signed", async () => {
    const { url } = await start({ signLog: "/dev/full" });
    const answer = await post(`${url}/dev/sign-message`, { omni_account: account, message_hex: "00" });
    expect([answer.status, reasonOf(answer)]).toEqual([503, "SIGN_LOG_UNAVAILABLE"]);
    expect(JSON.stringify(answer.body)).not.toMatch(/0x[0-9a-f]{130}/);
  });
});

test("without a master secret it runs, is not ready, and says SIGNER_DISABLED", async () => {
  const signLog = join(folder, "disabled.log");
  const server = await startKeyService({ listen: { host: "127.0.0.1", port: 0 }, logLevel: "info", signLog }, { log });
  running.push(server);
  expect((await fetch(`${server.url}/livez`)).status).toBe(200);
  const ready = await fetch(`${server.url}/readyz`);
  expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining("master_secret")]);
  for (const call of ["derive-address", "sign-message"]) {
    const answer = await post(`${server.url}/dev/${call}`, { omni_account: account, message_hex: "" });
    expect([answer.status, reasonOf(answer)]).toEqual([503, "SIGNER_DISABLED"]);
  }
});

describe("with a broker", () => {
  const issuer = "https://broker.example";
  let broker: RunningServer;
  let revoked: string[] = [];
  let url: string;
  let key: DpopKey;
  let sessionKey: CryptoKey;

  beforeAll(async () => {
    const pair = await generateKeyPair("ES256");
    sessionKey = pair.privateKey;
    const jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), kid: "k1", alg: "ES256", use: "sig" }] };
    const pages = new Hono().get("/.well-known/agentkeys-session-jwks.json", (c) => c.json(jwks));
    // Plays the broker's part: its keys and its list of revoked sessions.
    broker = await serve({
      service: "broker",
      listen: { host: "127.0.0.1", port: 0 },
      services: [LoginService],
      routes: (router) => router.service(LoginService, { listRevokedSessions: () => ({ sessionIds: revoked }) }),
      readiness: new Readiness(),
      pages: (request) => pages.fetch(request),
      log,
    });
    running.push(broker);
    ({ url } = await start({ broker: { url: broker.url, issuer } }));
    key = await createDpopKey(await generateDpopKey(), { clock: Date.now, random: systemRandom });
  });

  const token = (claims: Record<string, unknown> = {}): Promise<string> =>
    new SignJWT({ kind: "identity", anchor: account, identity: account, cnf: { jkt: key.thumbprint }, ...claims })
      .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: "k1" })
      .setIssuer((claims["iss"] as string | undefined) ?? issuer)
      .setAudience("agentkeys")
      .setSubject(account)
      .setJti((claims["jti"] as string | undefined) ?? "A".repeat(22))
      .setIssuedAt()
      .setExpirationTime("1h")
      .sign(sessionKey);

  const sign = async (accessToken: string, omni_account = account): Promise<Answer> => {
    const path = `${url}/dev/sign-message`;
    const dpop = await key.prove({ method: "POST", url: path, accessToken });
    return post(path, { omni_account, message_hex: "00" }, { authorization: `DPoP ${accessToken}`, dpop });
  };

  test("the owner of the account is served", async () => {
    expect((await sign(await token())).status).toBe(200);
  });

  test("nobody else is", async () => {
    const wallet = "0x" + "1".repeat(40);
    expect(reasonOf(await sign(await token(), "cd".repeat(32)))).toBe("WRONG_ACCOUNT");
    expect(reasonOf(await sign(await token({ kind: "wallet", wallet, identity: undefined })))).toBe("SESSION_KIND");
    expect(reasonOf(await sign(await token({ iss: "https://other.example" })))).toBe("SESSION_INVALID");
    const unauthenticated = await post(`${url}/dev/sign-message`, { omni_account: account, message_hex: "00" });
    expect([unauthenticated.status, reasonOf(unauthenticated)]).toEqual([401, "SESSION_REQUIRED"]);
  });

  test("a proof works once, and for the call it was made for", async () => {
    const accessToken = await token();
    const path = `${url}/dev/sign-message`;
    const body = { omni_account: account, message_hex: "00" };
    const authorization = `DPoP ${accessToken}`;
    const dpop = await key.prove({ method: "POST", url: path, accessToken });
    expect((await post(path, body, { authorization, dpop })).status).toBe(200);
    expect(reasonOf(await post(path, body, { authorization, dpop }))).toBe("DPOP_REPLAYED");
    const forDerive = await key.prove({ method: "POST", url: `${url}/dev/derive-address`, accessToken });
    expect(reasonOf(await post(path, body, { authorization, dpop: forDerive }))).toBe("DPOP_INVALID");
  });

  test("a revoked session is refused", async () => {
    const { url: fresh } = await start({ broker: { url: broker.url, issuer } });
    url = fresh;
    revoked = ["B".repeat(22)];
    expect(reasonOf(await sign(await token({ jti: "B".repeat(22) })))).toBe("SESSION_REVOKED");
    expect((await sign(await token())).status).toBe(200);
  });

  test("a broker that is down is named, and nobody is served", async () => {
    const { url: lonely } = await start({ broker: { url: "http://127.0.0.1:9", issuer } });
    url = lonely;
    const answer = await sign(await token());
    expect([answer.status, reasonOf(answer)]).toEqual([503, "BROKER_UNAVAILABLE"]);
    expect(await (await fetch(`${lonely}/readyz`)).text()).toContain('"broker"');
  });
});

test("the master secret is in no log line, whatever happened above", () => {
  const all = lines.join("");
  expect(all).toContain("DEV ONLY");
  expect(all.toLowerCase()).not.toContain(MASTER);
  expect(all).not.toContain(Buffer.from(MASTER, "hex").toString("base64"));
});
