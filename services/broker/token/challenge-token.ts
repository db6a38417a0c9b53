import { createHash } from "node:crypto";

import { SignJWT } from "jose";

import type { EvmAddress } from "@agentkeys/lib/ethereum";

import { ALGORITHM, type SigningKeys } from "./signing-keys.ts";

/** The `typ` of a challenge token: it is no session, and a session is no challenge. */
export const CHALLENGE_TYP = "agentkeys-challenge+jwt";

/** What a signer is told about a challenge. */
export interface ChallengeClaims {
  requestId: string;
  address: EvmAddress;
  domain: string;
  nonce: string;
  message: string;
  /** Epoch milliseconds. */
  expiresAt: number;
}

/** The broker's word that it asked for this very message, so that a signer can refuse what nobody asked for. */
export async function signChallenge(claims: ChallengeClaims, issuer: string, keys: SigningKeys): Promise<string> {
  const { kid, privateKey } = keys.current();
  return new SignJWT({
    address: claims.address,
    domain: claims.domain,
    nonce: claims.nonce,
    message_sha256: createHash("sha256").update(claims.message, "utf8").digest("hex"),
  })
    .setProtectedHeader({ alg: ALGORITHM, typ: CHALLENGE_TYP, kid })
    .setIssuer(issuer)
    .setJti(claims.requestId)
    .setExpirationTime(Math.floor(claims.expiresAt / 1000))
    .sign(privateKey);
}
