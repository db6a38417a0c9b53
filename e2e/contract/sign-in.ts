import { randomBytes } from "node:crypto";

import { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { LoginService } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";
import { addressOfSecretKey, signEip191 } from "@agentkeys/lib/ethereum";
import { connectTransport } from "@agentkeys/lib/rpc";
import { Secret } from "@agentkeys/lib/secret";
import { type DpopKey, presentSession } from "@agentkeys/lib/session";
import { createClient } from "@connectrpc/connect";

/** What was sent to whom, as the broker's development mailbox keeps it. */
export interface Mailbox {
  list(): readonly { to: string; text: string }[];
}

export interface SignedIn {
  token: Secret;
  /** The anchor of the account; for a wallet session, the wallet's own omni_account. */
  account: string;
}

let people = 0;

/** Signs somebody new in by mail; with a key, the session is bound to it. */
export async function signIn(brokerUrl: string, mailbox: Mailbox, key?: DpopKey): Promise<SignedIn> {
  const login = await confirmedLogin(brokerUrl, mailbox, key);
  const { sessionJwt, omniAccount } = await loginClient(brokerUrl, key).awaitLogin(login);
  return { token: new Secret(sessionJwt), account: omniAccount };
}

/** A sign-in that somebody new has confirmed and nobody has collected: what AwaitLogin must be sent. */
export async function confirmedLogin(
  brokerUrl: string,
  mailbox: Mailbox,
  key?: DpopKey,
): Promise<{ loginId: string; loginSecret: string }> {
  people += 1;
  const email = `person-${people}@example.com`;
  const started = await loginClient(brokerUrl, key).startEmailLogin({ email, deviceName: "contract tests" });
  await pressConfirm(brokerUrl, mailbox, email);
  return { loginId: started.loginId, loginSecret: started.loginSecret };
}

/** A sign-in with a wallet that somebody has begun: what StartWalletAuth must be sent to have it confirmed. */
export async function walletLogin(
  brokerUrl: string,
  key: DpopKey,
): Promise<{ address: string; loginId: string; loginSecret: string }> {
  const { loginId, loginSecret } = await loginClient(brokerUrl, key).startWalletLogin({ deviceName: "contract tests" });
  return { address: addressOfSecretKey(randomBytes(32)), loginId, loginSecret };
}

function loginClient(brokerUrl: string, key: DpopKey | undefined) {
  const interceptors = key === undefined ? [] : [presentSession({ key })];
  return createClient(LoginService, connectTransport(brokerUrl, { interceptors }));
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

/** A wallet that is claimed by an account; the first challenge that it answers proves the claim. */
export interface LinkedWallet {
  address: string;
  /** Answers a new challenge: what VerifyWallet must be sent. */
  answerChallenge(): Promise<{ requestId: string; signature: string }>;
  /** Makes a new wallet session. */
  signIn(): Promise<SignedIn>;
}

/** Makes a wallet and claims it for the account of an identity session that is bound to the key. */
export async function linkWallet(brokerUrl: string, key: DpopKey, { token }: SignedIn): Promise<LinkedWallet> {
  const clientWith = (interceptor: ReturnType<typeof presentSession>) =>
    createClient(BrokerService, connectTransport(brokerUrl, { interceptors: [interceptor] }));
  const member = clientWith(presentSession({ key, token: () => token }));
  const holderOfKey = clientWith(presentSession({ key }));
  const secretKey = randomBytes(32);
  const address = addressOfSecretKey(secretKey);
  await member.linkWallet({ address });
  const answerChallenge: LinkedWallet["answerChallenge"] = async () => {
    const { requestId, siweMessage } = await member.startWalletAuth({ address });
    return { requestId, signature: signEip191(secretKey, Buffer.from(siweMessage)) };
  };
  return {
    address,
    answerChallenge,
    signIn: async () => {
      const { sessionJwt, omniAccount } = await holderOfKey.verifyWallet(await answerChallenge());
      return { token: new Secret(sessionJwt), account: omniAccount };
    },
  };
}
