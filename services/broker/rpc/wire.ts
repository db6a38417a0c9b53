import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";

import { IdentityType as WireIdentityType } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";
import type { IdentityType } from "@agentkeys/lib/account";
import { checksumAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { requestInfo } from "@agentkeys/lib/rpc";
import { currentSession, type Session } from "@agentkeys/lib/session";

import type { Caller } from "../audit/index.ts";
import type { Identity } from "../identity/index.ts";
import type { WalletLink } from "../wallet/index.ts";

/** From where a call came. */
export function callerOf(context: HandlerContext): Caller {
  const { sourceAddress, requestId, userAgent } = context.values.get(requestInfo);
  return { sourceAddress, requestId, userAgent };
}

/** The session of an RPC whose `access` demands one: `lib/session` let nobody through without. */
export function sessionOf(context: HandlerContext): Session {
  const session = context.values.get(currentSession);
  if (session === undefined) throw new Failure(ErrorReason.SESSION_REQUIRED, "a session is needed");
  return session;
}

const identityTypes: Record<IdentityType, WireIdentityType> = {
  email: WireIdentityType.EMAIL,
  oauth2: WireIdentityType.OAUTH2,
  evm: WireIdentityType.EVM,
  passkey: WireIdentityType.PASSKEY,
};

export function wireIdentity(identity: Identity) {
  return {
    omniAccount: identity.omniAccount,
    type: identityTypes[identity.type],
    value: identity.value,
    linkedAt: timestampFromMs(identity.linkedAt),
    lastUsedAt: timestampFromMs(identity.lastUsedAt),
    suspended: identity.suspendedAt !== undefined,
    displayName: identity.displayName ?? "",
  };
}

export function wireLink(link: WalletLink) {
  return {
    address: link.address,
    checksumAddress: checksumAddress(link.address),
    verified: link.verifiedAt !== undefined,
    createdAt: timestampFromMs(link.createdAt),
    ...(link.verifiedAt !== undefined && { verifiedAt: timestampFromMs(link.verifiedAt) }),
    ...(link.retiredAt !== undefined && { retiredAt: timestampFromMs(link.retiredAt) }),
  };
}
