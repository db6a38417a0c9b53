import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";

import type { BrokerService } from "@agentkeys/gen/agentkeys/broker/v1/broker_service_pb";
import type { Clock } from "@agentkeys/lib/clock";
import { parseEvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { currentSession, dpopProof } from "@agentkeys/lib/session";

import { auditEvent } from "../audit/index.ts";
import type { Limits } from "../limits/index.ts";
import type { BrokerStore } from "../store/index.ts";
import { DEFAULT_AUDIENCE, type OidcMinter } from "../token/index.ts";
import { type ChallengeParts, startChallenge, type VerifyParts, verifyWallet } from "../wallet/index.ts";
import { callerOf, sessionOf, wireLink } from "./wire.ts";

export interface BrokerServiceParts {
  store: BrokerStore;
  challenge: ChallengeParts;
  verify: VerifyParts;
  minter: OidcMinter;
  limits: Limits;
  clock: Clock;
}

export function createBrokerService(parts: BrokerServiceParts): ServiceImpl<typeof BrokerService> {
  const { store, minter, limits, clock } = parts;
  return {
    linkWallet: async (request, context) => {
      const session = sessionOf(context);
      const address = parseEvmAddress(request.address);
      const link = await store.transaction(async (tx) => {
        const now = clock();
        const claimed = await tx.wallets.claim(session.anchor, address, now);
        const facts = { anchor: session.anchor, sessionId: session.id, subject: address };
        await tx.audit.append(auditEvent(now, callerOf(context), { action: "wallet.claimed", ...facts }));
        return claimed;
      });
      return { link: wireLink(link) };
    },

    startWalletAuth: async (request, context) => {
      const { challenge, challengeToken } = await startChallenge(parts.challenge, {
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
      const { token, record } = await verifyWallet(parts.verify, {
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
      const { id, anchor, subject, wallet } = sessionOf(context);
      if (wallet === undefined) throw new Failure(ErrorReason.SESSION_KIND, "a wallet session is needed");
      await limits.consume("mints", wallet);
      const audience = request.audience === "" ? DEFAULT_AUDIENCE : request.audience;
      const facts = { action: "oidc.minted", anchor, sessionId: id, subject: audience } as const;
      const record = (outcome: string) =>
        store.audit.append(auditEvent(clock(), callerOf(context), { ...facts, outcome }));
      try {
        if ((await store.wallets.verifiedOwner(wallet)) !== anchor) {
          throw new Failure(
            ErrorReason.WALLET_NOT_LINKED,
            "the wallet is no longer linked to the account; link it again",
          );
        }
        const { jwt, expiresAt } = await minter.mint({ address: wallet, omniAccount: subject }, audience);
        // Written before the token leaves: what nobody recorded was not minted.
        await record("ok");
        return { jwt: jwt.reveal(), expiresAt: timestampFromMs(expiresAt) };
      } catch (error) {
        if (error instanceof Failure) await record(ErrorReason[error.reason]);
        throw error;
      }
    },
  };
}
