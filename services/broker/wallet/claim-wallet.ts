import type { Clock } from "@agentkeys/lib/clock";
import type { EvmAddress } from "@agentkeys/lib/ethereum";
import type { Session } from "@agentkeys/lib/session";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import type { Limits } from "../limits/index.ts";
import type { WalletLink, WalletStore } from "./store.ts";

export interface ClaimParts {
  transaction: <T>(work: (tx: { wallets: WalletStore; audit: AuditStore }) => Promise<T>) => Promise<T>;
  limits: Limits;
  clock: Clock;
}

/**
 * Notes that the session's account claims an address. It proves nothing, gives no rights, stops nobody else's claim, and tells
 * nothing of who else has one. @throws Failure RATE_LIMITED
 */
export async function claimWallet(
  { transaction, limits, clock }: ClaimParts,
  { address, session, caller }: { address: EvmAddress; session: Session; caller: Caller },
): Promise<WalletLink> {
  const { anchor, id: sessionId } = session;
  await limits.consume("claims", anchor);
  return transaction(async (tx) => {
    const now = clock();
    const link = await tx.wallets.claim(anchor, address, now);
    const facts = { anchor, sessionId, subject: address };
    await tx.audit.append(auditEvent(now, caller, { action: "wallet.claimed", ...facts }));
    return link;
  });
}
