import {
  generateAuthenticationOptions,
  type PublicKeyCredentialRequestOptionsJSON,
  verifyAuthenticationResponse,
} from "@simplewebauthn/server";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { auditEvent } from "../audit/index.ts";
import { type Answer, readAnswer } from "./answer.ts";
import { type Browser, newChallenge, PASSKEY_CHALLENGE_LIFE_MS, spendChallenge } from "./challenge.ts";
import type { PasskeyAnswer, PasskeyParts } from "./parts.ts";
import { unverified } from "./registration.ts";
import { relyingPartyAt, type RelyingParty } from "./relying-party.ts";
import type { Passkey } from "./store.ts";

/** What `navigator.credentials.get` is called with. Without `allowed` the browser offers whatever passkeys it has for this site. */
export async function authenticationOptions(
  parts: PasskeyParts,
  browser: Browser,
  { allowed = [] }: { allowed?: readonly Passkey[] } = {},
): Promise<PublicKeyCredentialRequestOptionsJSON> {
  const { id } = relyingPartyAt(parts.publicUrl());
  const challenge = await newChallenge(parts, browser, "authenticate");
  return generateAuthenticationOptions({
    rpID: id,
    challenge: Uint8Array.from(Buffer.from(challenge, "base64url")),
    timeout: PASSKEY_CHALLENGE_LIFE_MS,
    userVerification: "required",
    allowCredentials: allowed.map(({ credentialId, transports }) => ({
      id: credentialId,
      transports: transports as AuthenticatorTransport[],
    })),
  });
}

type AuthenticatorTransport = "usb" | "nfc" | "ble" | "smart-card" | "hybrid" | "internal";

type Assertion = Answer<"authenticatorData" | "signature">;

/**
 * The passkey that signed (section 7.2). Its person is known by the credential's id alone: the handle that it keeps of its person is
 * random, and is not looked at. @throws Failure INVALID_REQUEST, CHALLENGE_NOT_FOUND, PASSKEY_UNKNOWN, SIGNATURE_INVALID, RATE_LIMITED, NOT_SERVED
 */
export async function verifyAuthentication(
  parts: PasskeyParts,
  browser: Browser,
  { answer, caller }: PasskeyAnswer,
): Promise<Passkey> {
  const { passkeys, limits } = parts;
  await limits.check("wrongSignatures", caller.sourceAddress);
  const party = relyingPartyAt(parts.publicUrl());
  const assertion = readAnswer(answer, ["authenticatorData", "signature"]);
  try {
    await spendChallenge(parts, browser, "authenticate", assertion.challenge);
    const passkey = await passkeys.find(assertion.credentialId);
    if (passkey === undefined) throw unknownPasskey();
    const use = await signed(assertion, passkey, party);
    if (await passkeys.noteUse(passkey.credentialId, use)) return { ...passkey, ...use };
    await noteCopy(parts, passkey, caller);
    throw new Failure(
      ErrorReason.SIGNATURE_INVALID,
      "the passkey counts fewer signatures than it has made: somebody may have a copy of it; use another one, and take this one off the account",
    );
  } catch (error) {
    await limits.consume("wrongSignatures", caller.sourceAddress);
    throw error;
  }
}

/** Checks type, challenge, origin, relying party, presence, verification and signature. */
async function signed(
  { credentialId, challenge, response }: Assertion,
  { publicKey }: Passkey,
  { id, origin }: RelyingParty,
): Promise<Pick<Passkey, "signatureCounter" | "backedUp">> {
  try {
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response: { id: credentialId, rawId: credentialId, type: "public-key", response, clientExtensionResults: {} },
      expectedChallenge: challenge,
      expectedOrigin: origin,
      expectedRPID: id,
      requireUserVerification: false,
      // Its counter is compared in the store, in one statement with its change.
      credential: { id: credentialId, publicKey: Uint8Array.from(Buffer.from(publicKey, "base64url")), counter: 0 },
    });
    if (!verified) throw invalid();
    if (!authenticationInfo.userVerified) throw unverified();
    return { signatureCounter: authenticationInfo.newCounter, backedUp: authenticationInfo.credentialBackedUp };
  } catch (error) {
    // The library's own words quote what was sent.
    throw error instanceof Failure ? error : invalid(error);
  }
}

/** The signature was right, so that its owner should hear of it (section 6.1.1). */
async function noteCopy(
  { identities, audit, clock }: PasskeyParts,
  { omniAccount, credentialId }: Passkey,
  caller: PasskeyAnswer["caller"],
): Promise<void> {
  const anchor = (await identities.find(omniAccount))?.anchor;
  const outcome = ErrorReason[ErrorReason.SIGNATURE_INVALID];
  await audit.append(
    auditEvent(clock(), caller, { action: "passkey.refused", outcome, anchor, subject: credentialId }),
  );
}

export function unknownPasskey(): Failure {
  return new Failure(
    ErrorReason.PASSKEY_UNKNOWN,
    "this passkey is linked to no account: sign in another way, and link it from there",
  );
}

function invalid(cause?: unknown): Failure {
  return new Failure(
    ErrorReason.SIGNATURE_INVALID,
    "what came back was not signed by this passkey for this site",
    cause === undefined ? {} : { cause },
  );
}
