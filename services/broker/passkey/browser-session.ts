import type { OmniAccount } from "@agentkeys/lib/account";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import type { Identity } from "../identity/index.ts";
import { authenticationOptions, verifyAuthentication } from "./authentication.ts";
import type { PasskeyAnswer, PasskeyParts } from "./parts.ts";
import { registrationOptions, verifyRegistration } from "./registration.ts";
import type { NewPasskey } from "./store.ts";

/** A browser that is signed in to an account. */
export interface SignedInBrowser {
  sessionId: string;
  anchor: OmniAccount;
}

/** What a signed-in browser asks the account's own passkeys; undefined where the account has none. @throws Failure NOT_SERVED */
export async function stepUpOptions(parts: PasskeyParts, { sessionId, anchor }: SignedInBrowser) {
  const allowed = await parts.passkeys.listOf(anchor);
  return allowed.length === 0 ? undefined : authenticationOptions(parts, { sessionId }, { allowed });
}

/**
 * The identity of the browser's account that was proven. The caller notes that (`sessions.prove`, `identities.touch`).
 * @throws as verifyAuthentication; Failure WRONG_ACCOUNT, IDENTITY_SUSPENDED
 */
export async function verifyStepUp(
  parts: PasskeyParts,
  { sessionId, anchor }: SignedInBrowser,
  answer: PasskeyAnswer,
): Promise<Identity> {
  const { omniAccount } = await verifyAuthentication(parts, { sessionId }, answer);
  const identity = await parts.identities.find(omniAccount);
  if (identity?.anchor !== anchor) {
    throw new Failure(ErrorReason.WRONG_ACCOUNT, "this passkey is linked to another account");
  }
  if (identity.suspendedAt !== undefined) {
    throw new Failure(
      ErrorReason.IDENTITY_SUSPENDED,
      "this passkey was reported by the owner of another identity of the account; use another one",
    );
  }
  return identity;
}

/** What a signed-in browser makes a new passkey with; one that has a passkey of the account does not make a second. @throws Failure NOT_SERVED */
export async function addPasskeyOptions(parts: PasskeyParts, { sessionId, anchor }: SignedInBrowser) {
  return registrationOptions(parts, { sessionId }, { existing: await parts.passkeys.listOf(anchor) });
}

/** The new passkey, which `linkPasskey` of the account folder links. @throws as verifyRegistration */
export async function verifyAddedPasskey(
  parts: PasskeyParts,
  { sessionId }: SignedInBrowser,
  answer: PasskeyAnswer,
): Promise<NewPasskey> {
  return verifyRegistration(parts, { sessionId }, answer);
}
