import { randomBytes } from "node:crypto";

import { Access } from "@agentkeys/gen/agentkeys/access/v1/access_pb";
import { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { systemClock } from "@agentkeys/lib/clock";
import { addressOfSecretKey, signEip191 } from "@agentkeys/lib/ethereum";
import { systemRandom } from "@agentkeys/lib/random";
import { connectTransport } from "@agentkeys/lib/rpc";
import { Secret } from "@agentkeys/lib/secret";
import { createDpopKey, type DpopKey, generateDpopKey, presentSession } from "@agentkeys/lib/session";
import { createClient } from "@connectrpc/connect";

import type { Caller, Callers } from "./callers.ts";
import { anonymous } from "./protocols/protocol.ts";

/** What was sent to whom, as the broker's development mailbox keeps it. */
export interface Mailbox {
  list(): readonly { to: string; text: string }[];
}

export interface SignedIn {
  token: Secret;
  account: string;
}

/** People who sign in as everybody does: by mail, with a DPoP key; and who link a wallet and sign a challenge with it. */
export async function createCallers(brokerUrl: string, mailbox: Mailbox): Promise<Callers> {
  const key = await createDpopKey(await generateDpopKey(), { clock: systemClock, random: systemRandom });
  const signIn = (): Promise<SignedIn> => signInByMail(brokerUrl, mailbox, key);
  const member = await signIn();
  const wallet = await linkWallet(brokerUrl, key, member);
  const walletSession = await wallet.signIn();

  const callerWith = ({ token, account }: SignedIn): Caller => ({
    account,
    credentials: async ({ method, url }) => ({
      authorization: `DPoP ${token.reveal()}`,
      dpop: await key.prove({ method, url, accessToken: token.reveal() }),
    }),
  });
  const nobody: Caller = { credentials: anonymous };

  return {
    rightful: async (access) => {
      if (access === Access.ANYONE) return nobody;
      // The key service can end no session: one person does for all its calls.
      if (access === Access.ACCOUNT_OWNER) return callerWith(member);
      return callerWith(access === Access.WALLET_SESSION ? await wallet.signIn() : await signIn());
    },
    rightfulForReading: (access) => {
      if (access === Access.ANYONE) return Promise.resolve(nobody);
      return Promise.resolve(callerWith(access === Access.WALLET_SESSION ? walletSession : member));
    },
    withOtherSession: (access) =>
      Promise.resolve(callerWith(access === Access.WALLET_SESSION ? member : walletSession)),
  };
}

let people = 0;

/** Signs somebody new in; with a key, the session is bound to it. */
export async function signInByMail(brokerUrl: string, mailbox: Mailbox, key?: DpopKey): Promise<SignedIn> {
  const interceptors = key === undefined ? [] : [presentSession({ key })];
  const login = createClient(LoginService, connectTransport(brokerUrl, { interceptors }));
  people += 1;
  const email = `person-${people}@example.com`;
  const { loginId, loginSecret } = await login.startEmailLogin({ email, deviceName: "contract tests" });
  await pressConfirm(brokerUrl, mailbox, email);
  const { sessionJwt, omniAccount } = await login.awaitLogin({ loginId, loginSecret });
  return { token: new Secret(sessionJwt), account: omniAccount };
}

/** What the button behind the mailed link does. */
async function pressConfirm(brokerUrl: string, mailbox: Mailbox, email: string): Promise<void> {
  const mail = mailbox.list().find(({ to }) => to === email);
  const token = /\/login#(\S+)/.exec(mail?.text ?? "")?.[1];
  if (token === undefined) throw new Error(`no sign-in link was mailed to ${email}`);
  const response = await fetch(`${brokerUrl}/login/confirm`, {
    method: "POST",
    headers: { origin: brokerUrl, "sec-fetch-site": "same-origin" },
    body: new URLSearchParams({ token: decodeURIComponent(token) }),
  });
  if (!response.ok) throw new Error(`the sign-in was not confirmed: ${response.status} ${await response.text()}`);
}

/** Links a new wallet to the account; `signIn` makes a wallet session each time. */
async function linkWallet(
  brokerUrl: string,
  key: DpopKey,
  { token }: SignedIn,
): Promise<{ signIn: () => Promise<SignedIn> }> {
  const transport = connectTransport(brokerUrl, { interceptors: [presentSession({ key, token: () => token })] });
  const broker = createClient(BrokerService, transport);
  const withoutSession = connectTransport(brokerUrl, { interceptors: [presentSession({ key })] });
  const secretKey = randomBytes(32);
  const address = addressOfSecretKey(secretKey);
  await broker.linkWallet({ address });
  return {
    signIn: async () => {
      const { requestId, siweMessage } = await broker.startWalletAuth({ address });
      const signature = signEip191(secretKey, Buffer.from(siweMessage));
      const answer = await createClient(BrokerService, withoutSession).verifyWallet({ requestId, signature });
      return { token: new Secret(answer.sessionJwt), account: answer.omniAccount };
    },
  };
}
