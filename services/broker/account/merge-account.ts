import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent } from "../audit/index.ts";
import type { Identity } from "../identity/index.ts";
import { gone } from "../login/index.ts";
import { subjectOf, tellOthers } from "../notices/index.ts";
import { confirmedLogin, nameOf, offerFor } from "./link-identity.ts";
import { type AccountParts, freshSession, PROOF_FOR_LINK_MS, type ProvenRequest } from "./parts.ts";

/**
 * Takes up an offer: everything of the other account comes to the session's, and the other account ends. Its anchor, and with it the
 * wallet that is derived from that, is nobody's from then on.
 * @throws Failure LOGIN_*, DPOP_INVALID, FRESH_SIGN_IN_REQUIRED, MERGE_OFFER_CHANGED, ACCOUNT_FROZEN, IDENTITY_SUSPENDED
 */
export async function mergeAccount(
  parts: AccountParts,
  { offerId, ...request }: ProvenRequest & { offerId: string },
): Promise<Identity[]> {
  const { session, caller } = request;
  const { anchor: kept, id: sessionId } = session;
  const login = await confirmedLogin(parts, request, "link");
  const name = nameOf(login, parts.clientId);
  return parts.transaction(async (tx) => {
    const now = parts.clock();
    const { identity: by = kept } = await freshSession(tx, session, now, PROOF_FOR_LINK_MS);
    const known = await tx.identities.find(name.omniAccount);
    if (known === undefined || known.anchor === kept) throw changed();
    const offer = await offerFor(tx, parts, kept, known, login);
    if (offer.offerId !== offerId) throw changed();
    // Merging must be no way round what a frozen account is waiting for.
    if ((await tx.accounts.find(offer.ended))?.frozenAt !== undefined) {
      throw new Failure(ErrorReason.ACCOUNT_FROZEN, "the other account is frozen: its owner has to look at it first");
    }
    if (!(await tx.logins.advance(login.loginId, "confirmed", "collected", now))) throw gone();
    await tx.sessions.revokeAll(offer.ended, now);
    await tx.identities.move(offer.ended, kept);
    await tx.wallets.move(offer.ended, kept);
    await tx.accounts.endIn(offer.ended, kept);
    const facts = { anchor: kept, sessionId, subject: offer.ended };
    await tx.audit.append(auditEvent(now, caller, { action: "account.merged", ...facts }));
    await tellOthers(tx, parts, kept, { kind: "merged", subject: subjectOf(name), by, reported: by }, caller);
    return tx.identities.listOf(kept);
  });
}

function changed(): Failure {
  return new Failure(
    ErrorReason.MERGE_OFFER_CHANGED,
    "offer_id is not that of the offer as it stands now: one of the accounts has changed; ask for the offer again (LinkIdentity)",
  );
}
