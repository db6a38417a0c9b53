import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";

import { type OmniAccount, parseOmniAccount } from "../account.ts";
import type { Clock } from "../clock.ts";
import { type EvmAddress, parseEvmAddress } from "../ethereum/index.ts";
import { ErrorReason, Failure } from "../failure.ts";

/** The `aud` of every session token. */
export const SESSION_AUDIENCE = "agentkeys";
/** The `typ` of every session token (RFC 9068 section 2.1). */
export const SESSION_TYP = "at+jwt";
/** The one algorithm of session tokens (RFC 7518 section 3.4). */
export const SESSION_ALGORITHM = "ES256";

/** What a session may be used for: an identity session manages the account, a wallet session mints OIDC JWTs. */
export type SessionKind = "identity" | "wallet";

/** What a good session token says. */
export interface Session {
  /** The token's `jti`. */
  id: string;
  kind: SessionKind;
  /** The omni_account that it speaks for: the account's anchor, or a wallet's own. */
  subject: OmniAccount;
  /** The account that it belongs to. */
  anchor: OmniAccount;
  /** The identity that signed in; on identity sessions. */
  identity?: OmniAccount;
  /** The wallet that signed; on wallet sessions. */
  wallet?: EvmAddress;
  /** Epoch milliseconds. */
  issuedAt: number;
  /** Epoch milliseconds. */
  expiresAt: number;
  /** Of the key that the token is bound to (RFC 9449 section 6); absent on a plain bearer token. */
  dpopThumbprint?: string;
  /** Made by a sign-in to a frozen account: good for looking at it and putting it right, and for nothing else. */
  restricted: boolean;
}

export interface SessionVerifier {
  /**
   * Checks a token in full: algorithm, key, type, issuer, audience, life, shape, revocation. `renewable` lets one through as well that
   * was renewed so lately that it may be renewed again.
   * @throws Failure SESSION_INVALID, SESSION_EXPIRED, SESSION_REVOKED, BROKER_UNAVAILABLE
   */
  verify(token: string, o?: { renewable: boolean }): Promise<Session>;
}

export interface SessionVerifierOptions {
  /** The broker's issuer URL. */
  issuer: string;
  /** Gives the broker's session key that a token's header names. */
  keys: JWTVerifyGetKey;
  /**
   * Whether the session with this id was revoked; `renewable`: and cannot be renewed again either. Throws what its callers shall see
   * when it cannot tell.
   */
  isRevoked: (sessionId: string, renewable: boolean) => Promise<boolean>;
  clock: Clock;
}

/** How far a token's times may be from ours, in seconds. */
const LEEWAY_SECONDS = 5;
/** Session tokens are some 600 bytes; nothing near this is one. */
const MAX_TOKEN_LENGTH = 8192;

export function createSessionVerifier({ issuer, keys, isRevoked, clock }: SessionVerifierOptions): SessionVerifier {
  return {
    async verify(token, { renewable } = { renewable: false }) {
      if (token.length > MAX_TOKEN_LENGTH) throw invalid("is too long");
      const now = clock();
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience: SESSION_AUDIENCE,
        typ: SESSION_TYP,
        algorithms: [SESSION_ALGORITHM],
        requiredClaims: ["jti", "sub", "iat", "exp", "kind", "anchor"],
        clockTolerance: LEEWAY_SECONDS,
        currentDate: new Date(now),
      }).catch((error: unknown) => {
        throw explain(error);
      });
      const session = sessionOf(payload);
      if (session.issuedAt > now + LEEWAY_SECONDS * 1000) throw invalid("was issued in the future");
      if (await isRevoked(session.id, renewable)) {
        throw new Failure(ErrorReason.SESSION_REVOKED, "the session was revoked; sign in again");
      }
      return session;
    },
  };
}

function explain(error: unknown): unknown {
  if (error instanceof Failure) return error;
  if (error instanceof errors.JWTExpired) {
    return new Failure(ErrorReason.SESSION_EXPIRED, "the session has expired; renew it or sign in again");
  }
  if (error instanceof errors.JWTClaimValidationFailed) return invalid(`has a wrong or missing "${error.claim}"`);
  if (error instanceof errors.JOSEAlgNotAllowed) return invalid(`is not signed with ${SESSION_ALGORITHM}`);
  if (error instanceof errors.JWKSNoMatchingKey)
    return invalid("is signed with a key that the broker does not publish");
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid("has a wrong signature");
  if (error instanceof errors.JOSEError) return invalid("is not a session token of this broker");
  return error;
}

/** The signature is good, so a misshapen payload is a broker's fault; it is refused all the same. */
function sessionOf(payload: JWTPayload): Session {
  const { jti, sub, iat, exp, kind, anchor, identity, wallet, cnf, restricted } = payload;
  if (typeof jti !== "string" || typeof iat !== "number" || typeof exp !== "number")
    throw invalid("has no id or times");
  const base = {
    id: jti,
    subject: omniAccount(sub, "sub"),
    anchor: omniAccount(anchor, "anchor"),
    issuedAt: iat * 1000,
    expiresAt: exp * 1000,
    ...(cnf === undefined ? {} : { dpopThumbprint: thumbprintOf(cnf) }),
    // Whatever stands there is a restriction: one that we do not understand must not lift itself.
    restricted: restricted !== undefined,
  };
  if (kind === "identity") return { ...base, kind, identity: omniAccount(identity, "identity") };
  if (kind === "wallet" && typeof wallet === "string") return { ...base, kind, wallet: parseEvmAddress(wallet) };
  throw invalid('has a wrong "kind"');
}

function omniAccount(value: unknown, claim: string): OmniAccount {
  if (typeof value !== "string") throw invalid(`has a wrong or missing "${claim}"`);
  return parseOmniAccount(value);
}

/** A `cnf` that we do not understand must not turn a bound token into a bearer token. */
function thumbprintOf(cnf: unknown): string {
  if (typeof cnf === "object" && cnf !== null && "jkt" in cnf && typeof cnf.jkt === "string" && cnf.jkt !== "") {
    return cnf.jkt;
  }
  throw invalid('has a "cnf" without a "jkt"');
}

function invalid(what: string): Failure {
  return new Failure(ErrorReason.SESSION_INVALID, `the session token ${what}`);
}
