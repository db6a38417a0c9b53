import { Access } from "@agentkeys/gen/agentkeys/access/v1/access_pb";
import { systemClock } from "@agentkeys/lib/clock";
import { systemRandom } from "@agentkeys/lib/random";
import { createDpopKey, generateDpopKey } from "@agentkeys/lib/session";

import type { Caller, Callers } from "./callers.ts";
import { anonymous } from "./protocols/protocol.ts";
import { confirmedLogin, linkWallet, type Mailbox, type SignedIn, signIn, walletLogin } from "./sign-in.ts";

/** People who sign in as everybody does: by mail, with a DPoP key; and who link a wallet and answer challenges with it. */
export async function createCallers(brokerUrl: string, mailbox: Mailbox): Promise<Callers> {
  const key = await createDpopKey(await generateDpopKey(), { clock: systemClock, random: systemRandom });
  const newMember = (): Promise<SignedIn> => signIn(brokerUrl, mailbox, key);
  const member = await newMember();
  const wallet = await linkWallet(brokerUrl, key, member);
  const walletSession = await wallet.signIn();

  const nobody: Caller = { credentials: anonymous };
  const holderOfKey: Caller = { credentials: async (request) => ({ dpop: await key.prove(request) }) };
  const callerWith = ({ token, account }: SignedIn): Caller => ({
    account,
    credentials: async (request) => ({
      authorization: `DPoP ${token.reveal()}`,
      dpop: await key.prove({ ...request, accessToken: token.reveal() }),
    }),
  });

  return {
    rightful: async (access) => {
      switch (access) {
        case Access.ANYONE:
          return nobody;
        case Access.WALLET_SESSION:
          return callerWith(await wallet.signIn());
        case Access.ACCOUNT_OWNER:
          // The key service can end no session: one person does for all its calls.
          return callerWith(member);
        default:
          return callerWith(await newMember());
      }
    },
    rightfulForReading: (access) => {
      if (access === Access.ANYONE) return Promise.resolve(nobody);
      return Promise.resolve(callerWith(access === Access.WALLET_SESSION ? walletSession : member));
    },
    withOtherSession: (access) =>
      Promise.resolve(callerWith(access === Access.WALLET_SESSION ? member : walletSession)),
    prepared: {
      "LoginService/AwaitLogin": async () => ({
        init: await confirmedLogin(brokerUrl, mailbox, key),
        caller: holderOfKey,
      }),
      "BrokerService/StartWalletAuth": async () => ({
        init: await walletLogin(brokerUrl, key),
        caller: holderOfKey,
      }),
      "AccountService/RetireWallet": async () => {
        const retired = await linkWallet(brokerUrl, key, member);
        await retired.signIn();
        return { init: { address: retired.address }, caller: callerWith(member) };
      },
      "BrokerService/VerifyWallet": async () => ({ init: await wallet.answerChallenge(), caller: holderOfKey }),
    },
  };
}
