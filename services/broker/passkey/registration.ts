import {
  generateRegistrationOptions,
  type PublicKeyCredentialCreationOptionsJSON,
  verifyRegistrationResponse,
} from "@simplewebauthn/server";
import { decodeAttestationObject } from "@simplewebauthn/server/helpers";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { readAnswer } from "./answer.ts";
import { type Browser, newChallenge, PASSKEY_CHALLENGE_LIFE_MS, spendChallenge } from "./challenge.ts";
import type { PasskeyAnswer, PasskeyParts } from "./parts.ts";
import { relyingPartyAt } from "./relying-party.ts";
import type { NewPasskey, Passkey } from "./store.ts";

/** EdDSA, ES256, RS256 (RFC 9053, RFC 8812), the most wanted first. */
const ALGORITHMS = [-8, -7, -257];

/**
 * What `navigator.credentials.create` is called with: a passkey that signs in without a name being typed, and that checks its person
 * (PIN, fingerprint, face). Those of `existing` are not to be made twice; before a person has signed in, nobody knows which these are.
 */
export async function registrationOptions(
  parts: PasskeyParts,
  browser: Browser,
  { existing = [] }: { existing?: readonly Passkey[] } = {},
): Promise<PublicKeyCredentialCreationOptionsJSON> {
  const { id } = relyingPartyAt(parts.publicUrl());
  const challenge = await newChallenge(parts, browser, "register");
  // Shown by the passkey's own screens, and by everything that passkeys are copied to: it must not say whose account it is.
  const name = `AgentKeys ${new Date(parts.clock()).toISOString().slice(0, 10)}`;
  return generateRegistrationOptions({
    rpID: id,
    rpName: "AgentKeys",
    userID: Uint8Array.from(parts.random(32)),
    userName: name,
    userDisplayName: name,
    challenge: Uint8Array.from(Buffer.from(challenge, "base64url")),
    timeout: PASSKEY_CHALLENGE_LIFE_MS,
    attestationType: "none",
    authenticatorSelection: { residentKey: "required", userVerification: "required" },
    excludeCredentials: existing.map(({ credentialId }) => ({ id: credentialId })),
    supportedAlgorithmIDs: ALGORITHMS,
  });
}

/**
 * The new passkey in a browser's answer (section 7.1), which is nobody's yet. It has signed nothing: whoever asks may name any id, so
 * that it proves no identity that is linked already.
 * @throws Failure INVALID_REQUEST, CHALLENGE_NOT_FOUND, SIGNATURE_INVALID, RATE_LIMITED, NOT_SERVED
 */
export async function verifyRegistration(
  parts: PasskeyParts,
  browser: Browser,
  { answer, caller }: PasskeyAnswer,
): Promise<NewPasskey> {
  await parts.limits.check("wrongSignatures", caller.sourceAddress);
  const { id, origin } = relyingPartyAt(parts.publicUrl());
  const read = readAnswer(answer, ["attestationObject"]);
  try {
    await spendChallenge(parts, browser, "register", read.challenge);
    const found = await registered(read, { challenge: read.challenge, id, origin });
    if ((await parts.passkeys.find(found.credentialId)) !== undefined) throw taken();
    return found;
  } catch (error) {
    await parts.limits.consume("wrongSignatures", caller.sourceAddress);
    throw error;
  }
}

async function registered(
  { credentialId, response, transports }: ReturnType<typeof readAnswer<"attestationObject">>,
  expected: { challenge: string; id: string; origin: string },
): Promise<NewPasskey> {
  try {
    // We ask for no attestation. A statement with certificates would have strangers' ASN.1 parsed, and their revocation lists fetched.
    const statement = decodeAttestationObject(Uint8Array.from(Buffer.from(response.attestationObject, "base64url")));
    const format = statement.get("fmt");
    if (format !== "none" && (format !== "packed" || statement.get("attStmt").get("x5c") !== undefined))
      throw invalid();
    const { registrationInfo: made } = await verifyRegistrationResponse({
      response: { id: credentialId, rawId: credentialId, type: "public-key", response, clientExtensionResults: {} },
      expectedChallenge: expected.challenge,
      expectedOrigin: expected.origin,
      expectedRPID: expected.id,
      supportedAlgorithmIDs: ALGORITHMS,
      requireUserVerification: false,
    });
    if (made?.credential.id !== credentialId) throw invalid();
    if (!made.userVerified) throw unverified();
    const { publicKey, counter } = made.credential;
    return {
      credentialId,
      publicKey: Buffer.from(publicKey).toString("base64url"),
      signatureCounter: counter,
      transports,
      backedUp: made.credentialBackedUp,
    };
  } catch (error) {
    // The library's own words quote what was sent.
    throw error instanceof Failure ? error : invalid(error);
  }
}

/** A passkey that is linked already was named as a new one. */
export function taken(): Failure {
  return new Failure(ErrorReason.SIGNATURE_INVALID, "a passkey with this id exists already: it cannot be made again");
}

/** @internal */
export function unverified(): Failure {
  return new Failure(
    ErrorReason.SIGNATURE_INVALID,
    "the passkey did not check who you are: it needs a PIN, a fingerprint or your face",
  );
}

function invalid(cause?: unknown): Failure {
  return new Failure(
    ErrorReason.SIGNATURE_INVALID,
    "what came back is not a new passkey for this site",
    cause === undefined ? {} : { cause },
  );
}
