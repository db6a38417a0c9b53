import type { Clock } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Secret } from "@agentkeys/lib/secret";
import type { Session } from "@agentkeys/lib/session";

import { auditEvent, type AuditStore, type Caller } from "../audit/index.ts";
import type { Limits } from "../limits/index.ts";
import type { OidcMinter, SessionStore } from "../token/index.ts";
import type { WalletStore } from "./store.ts";

export interface MintParts {
  wallets: WalletStore;
  sessions: SessionStore;
  audit: AuditStore;
  limits: Limits;
  minter: OidcMinter;
  clock: Clock;
}

/**
 * Makes an OIDC JWT about the wallet of a wallet session, for a relying party, while the wallet is linked to the account.
 * @throws Failure SESSION_KIND, WALLET_NOT_LINKED, AUDIENCE_NOT_ALLOWED, RATE_LIMITED
 */
export async function mintForWallet(
  { wallets, sessions, audit, limits, minter, clock }: MintParts,
  { audience, session, caller }: { audience: string; session: Session; caller: Caller },
): Promise<{ jwt: Secret; expiresAt: number }> {
  const { id: sessionId, anchor, subject, wallet } = session;
  if (wallet === undefined) throw new Failure(ErrorReason.SESSION_KIND, "a wallet session is needed");
  await limits.consume("mints", wallet);
  const record = (outcome: string): Promise<void> => {
    const facts = { outcome, anchor, sessionId, subject: audience };
    return audit.append(auditEvent(clock(), caller, { action: "oidc.minted", ...facts }));
  };
  try {
    const link = await wallets.verifiedLink(wallet);
    if (link?.anchor !== anchor || link.retiredAt !== undefined) {
      throw new Failure(ErrorReason.WALLET_NOT_LINKED, "the wallet is no longer linked to the account; link it again");
    }
    const minted = await minter.mint({ address: wallet, omniAccount: subject }, audience);
    // Written before the token leaves: what nobody recorded was not minted.
    await record("ok");
    await sessions.noteAudience(sessionId, audience);
    return minted;
  } catch (error) {
    if (error instanceof Failure && error.reason !== ErrorReason.STORE_UNAVAILABLE) {
      await record(ErrorReason[error.reason]);
    }
    throw error;
  }
}
