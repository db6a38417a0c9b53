import { type Clock, MINUTE } from "@agentkeys/lib/clock";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import type { Session } from "@agentkeys/lib/session";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import type { Limits } from "../limits/index.ts";
import type { SessionStore } from "../token/index.ts";
import type { WalletLink, WalletStore } from "./store.ts";

/** How lately somebody must have proven who they are to take a wallet back into use, in milliseconds: as long as to retire it. */
const PROOF_FOR_RESTORING_MS = 5 * MINUTE;

/** How many claims of an account are remembered besides: they prove nothing, and each page of the account shows them all. */
const OTHER_CLAIMS = 49;

export interface ClaimParts {
  transaction: <T>(
    work: (tx: { wallets: WalletStore; sessions: SessionStore; audit: AuditStore }) => Promise<T>,
  ) => Promise<T>;
  limits: Limits;
  clock: Clock;
}

/**
 * Notes that the session's account claims an address. It proves nothing, gives no rights, stops nobody else's claim, and tells
 * nothing of who else has one; the oldest make room where there are many. A wallet of its own that was retired comes back into use, if its person has just signed in; else it stays
 * as it is. @throws Failure RATE_LIMITED
 */
export async function claimWallet(
  { transaction, limits, clock }: ClaimParts,
  { address, session, caller }: { address: EvmAddress; session: Session; caller: Caller },
): Promise<WalletLink> {
  const { anchor, id: sessionId } = session;
  await limits.consume("claims", anchor);
  return transaction(async (tx) => {
    const now = clock();
    const { retiredAt, ...link } = await tx.wallets.claim(anchor, address, now);
    await tx.wallets.forgetClaims(anchor, address, OTHER_CLAIMS);
    const facts = { anchor, sessionId, subject: address };
    await tx.audit.append(auditEvent(now, caller, { action: "wallet.claimed", ...facts }));
    if (retiredAt === undefined) return link;
    const provenAt = (await tx.sessions.find(sessionId))?.provenAt ?? 0;
    if (now - provenAt > PROOF_FOR_RESTORING_MS) return { ...link, retiredAt };
    await tx.wallets.setRetired(address, undefined);
    await tx.audit.append(auditEvent(now, caller, { action: "wallet.restored", ...facts }));
    return link;
  });
}
