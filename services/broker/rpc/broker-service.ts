import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";

import type { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { parseEvmAddress } from "@agentkeys/lib/ethereum";
import { currentSession, dpopProof } from "@agentkeys/lib/session";

import { nameIdentity } from "../identity/index.ts";
import { DEFAULT_AUDIENCE } from "../token/index.ts";
import {
  type Challenge,
  type ClaimParts,
  claimWallet,
  type LoginChallengeParts,
  mintForWallet,
  type MintParts,
  startChallenge,
  startLoginChallenge,
  type VerifyParts,
  verifyWallet,
} from "../wallet/index.ts";
import { callerOf, sessionOf, wireLink } from "./wire.ts";

export type BrokerServiceParts = ClaimParts & LoginChallengeParts & VerifyParts & MintParts;

export function createBrokerService(parts: BrokerServiceParts): ServiceImpl<typeof BrokerService> {
  return {
    linkWallet: async (request, context) => {
      const address = parseEvmAddress(request.address);
      const link = await claimWallet(parts, { address, session: sessionOf(context), caller: callerOf(context) });
      return { link: wireLink(link) };
    },

    startWalletAuth: async (request, context) => {
      const address = parseEvmAddress(request.address);
      const caller = callerOf(context);
      const { loginId, loginSecret } = request;
      if (loginId !== "" || loginSecret !== "") {
        const dpopThumbprint = context.values.get(dpopProof)?.thumbprint;
        const holder = { loginId, loginSecret, dpopThumbprint };
        return wireChallenge((await startLoginChallenge(parts, { address, holder, caller })).challenge);
      }
      const session = context.values.get(currentSession);
      const { challenge, challengeToken } = await startChallenge(parts, { address, session, caller });
      return { ...wireChallenge(challenge), challengeToken };
    },

    verifyWallet: async (request, context) => {
      const outcome = await verifyWallet(parts, {
        requestId: request.requestId,
        signature: request.signature,
        dpopThumbprint: context.values.get(dpopProof)?.thumbprint,
        caller: callerOf(context),
      });
      if ("login" in outcome) {
        const { identity, expiresAt } = outcome.login;
        if (identity === undefined) throw new Error("a confirmed sign-in names nobody");
        const { omniAccount, value } = nameIdentity(identity, parts.clientId);
        return { sessionJwt: "", omniAccount, walletAddress: value, expiresAt: timestampFromMs(expiresAt) };
      }
      const { token, record } = outcome.session;
      return {
        sessionJwt: token.reveal(),
        omniAccount: record.subject,
        walletAddress: record.wallet ?? "",
        expiresAt: timestampFromMs(record.expiresAt),
      };
    },

    mintOidcJwt: async (request, context) => {
      const { jwt, expiresAt } = await mintForWallet(parts, {
        audience: request.audience === "" ? DEFAULT_AUDIENCE : request.audience,
        session: sessionOf(context),
        caller: callerOf(context),
      });
      return { jwt: jwt.reveal(), expiresAt: timestampFromMs(expiresAt) };
    },
  };
}

function wireChallenge({ requestId, message, expiresAt }: Challenge) {
  return { requestId, siweMessage: message, expiresAt: timestampFromMs(expiresAt) };
}
