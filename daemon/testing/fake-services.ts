import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Interceptor, ServiceImpl } from "@connectrpc/connect";
import { decodeJwt, UnsecuredJWT } from "jose";

import { AccountService } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { IdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { KeyService } from "@agentkeys/gen/agentkeys/keys/v1/key_service_pb";
import { checksumAddress, parseEvmAddress } from "@agentkeys/lib/ethereum";
import { createLog } from "@agentkeys/lib/log";
import { Readiness, type RunningServer, serve } from "@agentkeys/lib/rpc";

/** A call that came in. */
export interface SeenCall {
  method: string;
  /** The Authorization header, without what is the same everywhere. */
  session: "none" | "identity" | "wallet";
  /** Whether a proof came along, and whether it is about the session. */
  proof: "none" | "plain" | "about the session";
  request: Record<string, unknown>;
}

type Handlers = Partial<
  ServiceImpl<typeof LoginService> &
    ServiceImpl<typeof BrokerService> &
    ServiceImpl<typeof AccountService> &
    ServiceImpl<typeof KeyService>
>;

/** A broker and a key service on one port, which answer as they should, or as a test wants them to. They check nothing. */
export interface FakeServices {
  url: string;
  calls: SeenCall[];
  /** Replaces answers. */
  handlers: Handlers;
  close(): Promise<void>;
}

export const ACCOUNT = "0f".repeat(32);
export const WALLET = parseEvmAddress("0x" + "ab".repeat(20));
const SIGNATURE = "0x" + "11".repeat(65);
const HOUR = 3_600_000;

export async function startFakeServices({ clock = Date.now }: { clock?: () => number } = {}): Promise<FakeServices> {
  const calls: SeenCall[] = [];
  const later = (ms: number) => timestampFromMs(clock() + ms);
  let count = 0;
  let server: RunningServer | undefined = undefined;
  const token = (kind: "identity" | "wallet"): string =>
    new UnsecuredJWT({ iss: server?.url ?? "", kind, count: ++count }).encode() + "signature";

  const usual: Handlers = {
    startEmailLogin: () => ({
      loginId: "l".repeat(22),
      loginSecret: "s".repeat(43),
      userCode: "BCDF-GHJK",
      expiresAt: later(HOUR / 4),
    }),
    awaitLogin: () => ({
      sessionJwt: token("identity"),
      omniAccount: ACCOUNT,
      identity: { omniAccount: ACCOUNT, type: IdentityType.EMAIL, value: "ada@example.com" },
      expiresAt: later(12 * HOUR),
    }),
    startOauthLogin: () => ({
      loginId: "l".repeat(22),
      loginSecret: "s".repeat(43),
      userCode: "BCDF-GHJK",
      authorizationUrl: `${server?.url ?? ""}/login#${"t".repeat(43)}`,
      expiresAt: later(HOUR / 4),
    }),
    startPasskeyLogin: () => ({
      loginId: "l".repeat(22),
      loginSecret: "s".repeat(43),
      userCode: "BCDF-GHJK",
      pageUrl: `${server?.url ?? ""}/login#${"t".repeat(43)}`,
      expiresAt: later(HOUR / 4),
    }),
    startWalletLogin: () => ({
      loginId: "l".repeat(22),
      loginSecret: "s".repeat(43),
      userCode: "BCDF-GHJK",
      pageUrl: `${server?.url ?? ""}/login#${"t".repeat(43)}`,
      expiresAt: later(HOUR / 4),
    }),
    listIdentities: () => ({
      identities: [
        {
          omniAccount: ACCOUNT,
          type: IdentityType.EMAIL,
          value: "ada@example.com",
          linkedAt: later(0),
          lastUsedAt: later(0),
        },
      ],
    }),
    linkIdentity: () => ({
      identity: { omniAccount: "1e".repeat(32), type: IdentityType.EMAIL, value: "work@example.com" },
    }),
    mergeAccount: () => ({ identities: [] }),
    stepUp: () => ({ freshUntil: later(HOUR / 12) }),
    unlinkIdentity: () => ({}),
    unfreezeAccount: () => ({}),
    listSessions: () => ({ sessions: [] }),
    listEvents: () => ({ events: [] }),
    renewSession: () => ({
      sessionJwt: token("identity"),
      expiresAt: later(12 * HOUR),
      renewableUntil: later(720 * HOUR),
    }),
    linkWallet: () => ({}),
    startWalletAuth: ({ address, loginId }) => ({
      requestId: "r".repeat(22),
      siweMessage:
        siweMessage(new URL(server?.url ?? "").host, address) + (loginId === "" ? "" : " The code is BCDF-GHJK."),
      challengeToken: "the-challenge-token",
      expiresAt: later(HOUR / 12),
    }),
    verifyWallet: () => ({
      sessionJwt: token("wallet"),
      omniAccount: ACCOUNT,
      walletAddress: WALLET,
      expiresAt: later(HOUR),
    }),
    mintOidcJwt: () => ({
      jwt: new UnsecuredJWT({ sub: "wallet", count: ++count }).encode(),
      expiresAt: later(HOUR / 12),
    }),
    whoAmI: () => ({ omniAccount: ACCOUNT, wallets: [{ address: WALLET, verified: true }] }),
    revokeSession: () => ({}),
    deriveAddress: () => ({ address: WALLET, keyVersion: 1 }),
    signMessage: () => ({ signature: SIGNATURE, address: WALLET, keyVersion: 1 }),
  };

  const fake: FakeServices = { url: "", calls, handlers: {}, close: () => Promise.resolve(server?.close()) };
  const handled = (names: string[]): object =>
    Object.fromEntries(
      names.map((name) => [
        name,
        (...args: unknown[]) => {
          const handler = (fake.handlers as Record<string, unknown>)[name] ?? (usual as Record<string, unknown>)[name];
          return (handler as (...args: unknown[]) => unknown)(...args);
        },
      ]),
    );
  const record: Interceptor = (next) => async (req) => {
    const request = { ...req.message } as unknown as Record<string, unknown>;
    calls.push({ method: req.method.name, session: sessionIn(req.header), proof: proofIn(req.header), request });
    return await next(req);
  };

  server = await serve({
    service: "fake",
    listen: { host: "127.0.0.1", port: 0 },
    services: [LoginService, BrokerService, AccountService, KeyService],
    routes: (router) => {
      router.service(LoginService, handled(Object.keys(LoginService.method)));
      router.service(BrokerService, handled(["linkWallet", "startWalletAuth", "verifyWallet", "mintOidcJwt"]));
      router.service(AccountService, handled(Object.keys(AccountService.method)));
      router.service(KeyService, handled(["deriveAddress", "signMessage"]));
    },
    interceptors: [record],
    readiness: new Readiness(),
    log: createLog("fake", { level: "silent" }),
  });
  fake.url = server.url;
  return fake;
}

/** Answers of a broker at which the account is frozen; `url` is its own. */
export function frozenAccount(url: string, now: number): Handlers {
  const token = new UnsecuredJWT({ iss: url, kind: "identity", restricted: true }).encode() + "signature";
  return {
    awaitLogin: () => ({
      sessionJwt: token,
      omniAccount: ACCOUNT,
      identity: { omniAccount: ACCOUNT, type: IdentityType.EMAIL, value: "ada@example.com" },
      expiresAt: timestampFromMs(now + HOUR),
    }),
    whoAmI: () => ({ omniAccount: ACCOUNT, frozenAt: timestampFromMs(now) }),
  };
}

/** The beginning of a challenge, which is what the daemon looks at. */
export function siweMessage(host: string, address: string): string {
  const name = checksumAddress(parseEvmAddress(address));
  return `${host} wants you to sign in with your Ethereum account:\n${name}\n\nSign in.`;
}

function sessionIn(header: Headers): SeenCall["session"] {
  const token = header.get("authorization")?.replace(/^DPoP /, "");
  if (token === undefined) return "none";
  return decodeJwt(token)["kind"] === "wallet" ? "wallet" : "identity";
}

function proofIn(header: Headers): SeenCall["proof"] {
  const proof = header.get("dpop");
  if (proof === null) return "none";
  return decodeJwt(proof)["ath"] === undefined ? "plain" : "about the session";
}
