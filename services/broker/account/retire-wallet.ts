import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent, type Caller } from "../audit/index.ts";
import type { WalletLink } from "../wallet/index.ts";
import { type AccountParts, type Actor, freshSession, PROOF_FOR_UNLINK_MS } from "./parts.ts";

/**
 * Takes a linked wallet of the session's account out of use, and ends its sessions. It stays the account's, so that nobody else can ever
 * link it; claiming it after a new sign-in takes it back into use (`claimWallet`).
 * @throws Failure WALLET_NOT_LINKED (also for one of another account), FRESH_SIGN_IN_REQUIRED, SESSION_REVOKED
 */
export async function retireWallet(
  parts: AccountParts,
  { address, session, caller }: { address: EvmAddress; session: Actor; caller: Caller },
): Promise<WalletLink> {
  const { anchor, id: sessionId } = session;
  return parts.transaction(async (tx) => {
    const now = parts.clock();
    const link = await tx.wallets.verifiedLink(address);
    if (link?.anchor !== anchor) {
      throw new Failure(ErrorReason.WALLET_NOT_LINKED, "no wallet that is linked to this account has this address");
    }
    await freshSession(tx, session, now, PROOF_FOR_UNLINK_MS);
    if (link.retiredAt !== undefined) return link;
    await tx.wallets.setRetired(address, now);
    await tx.sessions.revokeWallet(address, now);
    const facts = { anchor, sessionId, subject: address };
    await tx.audit.append(auditEvent(now, caller, { action: "wallet.retired", ...facts }));
    return { ...link, retiredAt: now };
  });
}
