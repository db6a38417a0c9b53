import type { OmniAccount } from "@agentkeys/lib/account";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent, type Caller } from "../audit/index.ts";
import { subjectOf, tellOthers } from "../notices/index.ts";
import { type AccountParts, type Actor, freshSession, PROOF_FOR_UNLINK_MS } from "./parts.ts";

/**
 * Takes an identity off the session's account, and ends the sessions that it signed in. One that can sign in always stays.
 * @throws Failure IDENTITY_NOT_FOUND (also for one of another account), LAST_IDENTITY, FRESH_SIGN_IN_REQUIRED
 */
export async function unlinkIdentity(
  parts: AccountParts,
  { identity: target, session, caller }: { identity: OmniAccount; session: Actor; caller: Caller },
): Promise<void> {
  const { anchor, id: sessionId } = session;
  await parts.transaction(async (tx) => {
    const now = parts.clock();
    const all = await tx.identities.listOf(anchor);
    const removed = all.find(({ omniAccount }) => omniAccount === target);
    if (removed === undefined) {
      throw new Failure(ErrorReason.IDENTITY_NOT_FOUND, "no identity of this account has this omni_account");
    }
    const { identity: by = anchor } = await freshSession(tx, session, now, PROOF_FOR_UNLINK_MS);
    if (!all.some(({ omniAccount, suspendedAt }) => omniAccount !== target && suspendedAt === undefined)) {
      throw new Failure(
        ErrorReason.LAST_IDENTITY,
        "this is the last identity that signs in to the account: link another one first",
      );
    }
    await tx.identities.unlink(target);
    await tx.sessions.revokeAll(anchor, now, target);
    const facts = { anchor, sessionId, subject: removed.value };
    await tx.audit.append(auditEvent(now, caller, { action: "identity.unlinked", ...facts }));
    await tellOthers(
      tx,
      parts,
      anchor,
      { kind: "unlinked", subject: subjectOf(removed), by, reported: by, removed },
      caller,
    );
  });
}
