import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";

import type { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import { parseEvmAddress } from "@agentkeys/lib/ethereum";
import { currentSession, dpopProof } from "@agentkeys/lib/session";

import { DEFAULT_AUDIENCE } from "../token/index.ts";
import {
  type ChallengeParts,
  type ClaimParts,
  claimWallet,
  mintForWallet,
  type MintParts,
  startChallenge,
  type VerifyParts,
  verifyWallet,
} from "../wallet/index.ts";
import { callerOf, sessionOf, wireLink } from "./wire.ts";

export type BrokerServiceParts = ClaimParts & ChallengeParts & VerifyParts & MintParts;

export function createBrokerService(parts: BrokerServiceParts): ServiceImpl<typeof BrokerService> {
  return {
    linkWallet: async (request, context) => {
      const address = parseEvmAddress(request.address);
      const link = await claimWallet(parts, { address, session: sessionOf(context), caller: callerOf(context) });
      return { link: wireLink(link) };
    },

    startWalletAuth: async (request, context) => {
      const { challenge, challengeToken } = await startChallenge(parts, {
        address: parseEvmAddress(request.address),
        session: context.values.get(currentSession),
        caller: callerOf(context),
      });
      return {
        requestId: challenge.requestId,
        siweMessage: challenge.message,
        challengeToken,
        expiresAt: timestampFromMs(challenge.expiresAt),
      };
    },

    verifyWallet: async (request, context) => {
      const { token, record } = await verifyWallet(parts, {
        requestId: request.requestId,
        signature: request.signature,
        dpopThumbprint: context.values.get(dpopProof)?.thumbprint,
        caller: callerOf(context),
      });
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
