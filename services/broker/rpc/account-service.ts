import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";

import { type AccountService, SessionKind } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import { parseOmniAccount } from "@agentkeys/lib/account";
import { parseEvmAddress } from "@agentkeys/lib/ethereum";
import { dpopProof } from "@agentkeys/lib/session";

import {
  type AccountParts,
  linkIdentity,
  mergeAccount,
  type MergeOffer,
  type ProvenRequest,
  retireWallet,
  stepUp,
  unfreezeAccount,
  unlinkIdentity,
} from "../account/index.ts";
import type { BrokerStore } from "../store/index.ts";
import { revokeSession, type SessionRecord } from "../token/index.ts";
import { callerOf, sessionOf, wireIdentity, wireLink } from "./wire.ts";

const DEFAULT_PAGE = 50;

export type AccountServiceParts = AccountParts & { store: BrokerStore };

export function createAccountService(parts: AccountServiceParts): ServiceImpl<typeof AccountService> {
  const { store, clock } = parts;
  return {
    whoAmI: async (_request, context) => {
      const session = sessionOf(context);
      const [identity, links, record, account] = await Promise.all([
        session.identity && store.identities.find(session.identity),
        store.wallets.listOf(session.anchor),
        store.sessions.find(session.id),
        store.accounts.find(session.anchor),
      ]);
      return {
        omniAccount: session.anchor,
        ...(identity && { identity: wireIdentity(identity) }),
        wallets: links.map(wireLink),
        ...(record && { session: wireSession(record, session.id) }),
        ...(account?.frozenAt !== undefined && { frozenAt: timestampFromMs(account.frozenAt) }),
      };
    },

    listIdentities: async (_request, context) => {
      const identities = await store.identities.listOf(sessionOf(context).anchor);
      return { identities: identities.map(wireIdentity) };
    },

    linkIdentity: async (request, context) => {
      const outcome = await linkIdentity(parts, provenRequest(request, context));
      return "offerId" in outcome ? { mergeOffer: wireOffer(outcome) } : { identity: wireIdentity(outcome) };
    },

    mergeAccount: async (request, context) => {
      const { offerId } = request;
      const identities = await mergeAccount(parts, { ...provenRequest(request, context), offerId });
      return { identities: identities.map(wireIdentity) };
    },

    stepUp: async (request, context) => {
      return { freshUntil: timestampFromMs(await stepUp(parts, provenRequest(request, context))) };
    },

    unlinkIdentity: async (request, context) => {
      const identity = parseOmniAccount(request.omniAccount);
      await unlinkIdentity(parts, { identity, session: sessionOf(context), caller: callerOf(context) });
      return {};
    },

    retireWallet: async (request, context) => {
      const address = parseEvmAddress(request.address);
      const link = await retireWallet(parts, { address, session: sessionOf(context), caller: callerOf(context) });
      return { link: wireLink(link) };
    },

    unfreezeAccount: async (_request, context) => {
      await unfreezeAccount(parts, { session: sessionOf(context), caller: callerOf(context) });
      return {};
    },

    listSessions: async (_request, context) => {
      const { id, anchor } = sessionOf(context);
      const sessions = await store.sessions.listLive(anchor, clock());
      return { sessions: sessions.map((record) => wireSession(record, id)) };
    },

    revokeSession: async (request, context) => {
      const session = sessionOf(context);
      const target = request.sessionId === "" ? session.id : request.sessionId;
      return { sessionIds: await revokeSession({ ...store, clock }, target, session, callerOf(context)) };
    },

    listEvents: async (request, context) => {
      const { anchor } = sessionOf(context);
      const size = request.pageSize === 0 ? DEFAULT_PAGE : request.pageSize;
      // One more than asked for tells whether there is a next page.
      const events = await store.audit.page(anchor, size + 1, beforeOf(request.pageToken));
      const page = events.slice(0, size);
      const last = page.at(-1);
      return {
        events: page.map((event) => ({
          eventId: String(event.eventId),
          occurredAt: timestampFromMs(event.occurredAt),
          action: event.action,
          outcome: event.outcome,
          sessionId: event.sessionId,
          sourceAddress: event.sourceAddress,
          requestId: event.requestId,
          subject: event.subject,
        })),
        nextPageToken: events.length > size && last !== undefined ? tokenFor(last.eventId) : "",
      };
    },
  };
}

function provenRequest(held: { loginId: string; loginSecret: string }, context: HandlerContext): ProvenRequest {
  const { loginId, loginSecret } = held;
  const dpopThumbprint = context.values.get(dpopProof)?.thumbprint;
  return { login: { loginId, loginSecret, dpopThumbprint }, session: sessionOf(context), caller: callerOf(context) };
}

function wireOffer(offer: MergeOffer) {
  return {
    offerId: offer.offerId,
    keptAccount: offer.kept,
    keptWallets: offer.keptWallets.map(wireLink),
    endedAccount: offer.ended,
    endedIdentities: offer.endedIdentities.map(wireIdentity),
    endedWallets: offer.endedWallets.map(wireLink),
    expiresAt: timestampFromMs(offer.expiresAt),
  };
}

const sessionKinds: Record<SessionRecord["kind"], SessionKind> = {
  identity: SessionKind.IDENTITY,
  wallet: SessionKind.WALLET,
  browser: SessionKind.BROWSER,
};

function wireSession(record: SessionRecord, current: string) {
  return {
    sessionId: record.sessionId,
    kind: sessionKinds[record.kind],
    createdAt: timestampFromMs(record.createdAt),
    expiresAt: timestampFromMs(record.expiresAt),
    deviceName: record.deviceName,
    sourceAddress: record.sourceAddress,
    dpopBound: record.dpopThumbprint !== undefined,
    current: record.sessionId === current,
    ...(record.lastUsedAt !== undefined && { lastUsedAt: timestampFromMs(record.lastUsedAt) }),
    lastAudience: record.lastAudience,
  };
}

/** Opaque to clients: a page token is the last event's id. One that we did not make starts nowhere: an empty page. */
function tokenFor(eventId: number): string {
  return Buffer.from(String(eventId)).toString("base64url");
}

function beforeOf(token: string): number | undefined {
  if (token === "") return undefined;
  const text = Buffer.from(token, "base64url").toString("latin1");
  return /^\d{1,15}$/.test(text) ? Number(text) : 0;
}
