import type { Caller } from "../audit/index.ts";
import { type Identity, nameIdentity } from "../identity/index.ts";
import { type NewPasskey, passkeyName, taken } from "../passkey/index.ts";
import { addIdentity } from "./link-identity.ts";
import { type AccountParts, type Actor, freshSession, PROOF_FOR_LINK_MS } from "./parts.ts";

/**
 * Links a passkey that a signed-in browser has just made to its account.
 * @throws Failure FRESH_SIGN_IN_REQUIRED, SESSION_REVOKED, SIGNATURE_INVALID (where a passkey of this id exists already)
 */
export async function linkPasskey(
  parts: AccountParts,
  { newPasskey, session, caller }: { newPasskey: NewPasskey; session: Actor; caller: Caller },
): Promise<Identity> {
  const { id: sessionId, anchor } = session;
  return parts.transaction(async (tx) => {
    const now = parts.clock();
    const { identity: by = anchor } = await freshSession(tx, session, now, PROOF_FOR_LINK_MS);
    const displayName = passkeyName(caller.userAgent, now);
    const name = nameIdentity({ type: "passkey", value: newPasskey.credentialId, displayName }, parts.clientId);
    // It has signed nothing yet: that it names an id proves nothing about the one who has it.
    if ((await tx.identities.find(name.omniAccount)) !== undefined) throw taken();
    return addIdentity(tx, parts, { name, newPasskey, anchor, by, sessionId, caller });
  });
}
