import { createHash } from "node:crypto";

import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";

import type { Clock } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { SESSION_ALGORITHM } from "@agentkeys/lib/session";

import type { SignInMessage } from "./sign-in-message.ts";

/** The `typ` of a challenge token: it is no session, and a session is no challenge. */
const CHALLENGE_TYP = "agentkeys-challenge+jwt";

/**
 * Checks that the broker asked for this very message: its token, signed with its session key, names everything that the message
 * says. @throws Failure CHALLENGE_TOKEN_INVALID, BROKER_UNAVAILABLE
 */
export async function verifyChallengeToken(
  token: string,
  { message, bytes }: { message: SignInMessage; bytes: Uint8Array },
  { issuer, keys, clock }: { issuer: string; keys: JWTVerifyGetKey; clock: Clock },
): Promise<void> {
  if (token === "") throw invalid("is missing: send on what the broker gave with the message");
  const payload = await payloadOf(token, issuer, keys, clock);
  const expected: JWTPayload = {
    jti: message.requestId,
    exp: Math.floor(message.expiresAt / 1000),
    address: message.address,
    domain: message.domain,
    nonce: message.nonce,
    message_sha256: createHash("sha256").update(bytes).digest("hex"),
  };
  for (const [claim, value] of Object.entries(expected)) {
    if (payload[claim] !== value) throw invalid(`does not name this message: its "${claim}" is another`);
  }
}

async function payloadOf(token: string, issuer: string, keys: JWTVerifyGetKey, clock: Clock): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      typ: CHALLENGE_TYP,
      algorithms: [SESSION_ALGORITHM],
      requiredClaims: ["jti", "exp", "address", "domain", "nonce", "message_sha256"],
      currentDate: new Date(clock()),
    });
    return payload;
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw invalid("has expired");
    if (error instanceof errors.JWTClaimValidationFailed) throw invalid(`has a wrong or missing "${error.claim}"`);
    if (error instanceof errors.JOSEError) throw invalid("is not one that the broker signed");
    throw error;
  }
}

function invalid(what: string): Failure {
  return new Failure(ErrorReason.CHALLENGE_TOKEN_INVALID, `challenge_token ${what}`);
}
