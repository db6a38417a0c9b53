import { plainBrowser } from "@agentkeys/e2e/harness/plain-browser.ts";
import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import { createDpopKey, type DpopKey, generateDpopKey } from "@agentkeys/lib/session";

import type { Bed } from "./bed.ts";
import { createLoadClient, type LoadClient } from "./load-client.ts";

const LOGIN = "/agentkeys.broker.v1.LoginService";
const BROKER = "/agentkeys.broker.v1.BrokerService";
const KEYS = "/agentkeys.keys.v1.KeyService";

/** The services as someone calls them who may hold a device key: over Connect JSON, with a proof a call if so. */
export interface Caller {
  toBroker: LoadClient;
  toKeys: LoadClient;
  /** The headers of one call: the session, and a proof that is good for this call alone. */
  headers(url: string, token?: string): Promise<Record<string, string>>;
}

/** What a sign-in gives. */
export interface SignedIn {
  token: string;
  omniAccount: string;
}

export const RPC = {
  noop: "/grpc.health.v1.Health/Check",
  deriveAddress: `${KEYS}/DeriveAddress`,
  signMessage: `${KEYS}/SignMessage`,
  startWalletAuth: `${BROKER}/StartWalletAuth`,
  mintOidcJwt: `${BROKER}/MintOidcJwt`,
} as const;

/** `bound`: with a device key (DPoP), as the daemon always does; else plain bearer tokens. */
export async function createCaller(bed: Bed, o: { bound: boolean }): Promise<Caller> {
  const deps = { clock: systemClock, random: systemRandom };
  const key: DpopKey | undefined = o.bound ? await createDpopKey(await generateDpopKey(), deps) : undefined;
  return {
    toBroker: createLoadClient(bed.broker.url),
    toKeys: createLoadClient(bed.keys.url),
    async headers(url, token) {
      const authorization =
        token === undefined ? {} : { authorization: `${key === undefined ? "Bearer" : "DPoP"} ${token}` };
      if (key === undefined) return authorization;
      const request = { method: "POST", url };
      return {
        ...authorization,
        dpop: await key.prove(token === undefined ? request : { ...request, accessToken: token }),
      };
    },
  };
}

/** A sign-in by mail: started, confirmed by the press of a button on the broker's page, collected. */
export async function signIn(bed: Bed, caller: Caller, email: string): Promise<SignedIn> {
  const started = await toBroker(bed, caller, `${LOGIN}/StartEmailLogin`, { email });
  const mail = await bed.inbox.wait({ to: email }, AbortSignal.timeout(20_000));
  const link = mail?.links[0];
  if (link === undefined) throw new Error(`no mail came for ${email}`);
  await plainBrowser().confirm(link);
  const { loginId, loginSecret } = started;
  const { sessionJwt = "", omniAccount = "" } = await toBroker(bed, caller, `${LOGIN}/AwaitLogin`, {
    loginId,
    loginSecret,
  });
  return { token: sessionJwt, omniAccount };
}

/** Derives the account's wallet and claims it; the first wallet flow after it makes the claim a link. */
export async function claimWallet(bed: Bed, caller: Caller, { token, omniAccount }: SignedIn): Promise<string> {
  const headers = await caller.headers(bed.keys.url + RPC.deriveAddress, token);
  const { address = "" } = parse(await caller.toKeys.post(RPC.deriveAddress, { omniAccount }, headers));
  await toBroker(bed, caller, `${BROKER}/LinkWallet`, { address }, token);
  return address;
}

/** StartWalletAuth, SignMessage, VerifyWallet: a wallet session. */
export async function walletSession(bed: Bed, caller: Caller, who: SignedIn, address: string): Promise<string> {
  const challenge = await toBroker(bed, caller, RPC.startWalletAuth, { address }, who.token);
  const { requestId, siweMessage = "", challengeToken } = challenge;
  const headers = await caller.headers(bed.keys.url + RPC.signMessage, who.token);
  const request = {
    omniAccount: who.omniAccount,
    messageHex: Buffer.from(siweMessage).toString("hex"),
    challengeToken,
  };
  const { signature } = parse(await caller.toKeys.post(RPC.signMessage, request, headers));
  return (await toBroker(bed, caller, `${BROKER}/VerifyWallet`, { requestId, signature })).sessionJwt ?? "";
}

/** MintOidcJwt. */
export async function mint(bed: Bed, caller: Caller, walletToken: string): Promise<string> {
  return (await toBroker(bed, caller, RPC.mintOidcJwt, {}, walletToken)).jwt ?? "";
}

async function toBroker(bed: Bed, caller: Caller, path: string, body: unknown, token?: string): Promise<Answer> {
  return parse(await caller.toBroker.post(path, body, await caller.headers(bed.broker.url + path, token)));
}

type Answer = Readonly<Partial<Record<string, string>>>;

function parse(text: string): Answer {
  return JSON.parse(text) as Answer;
}
