import { calculateJwkThumbprint, EmbeddedJWK, errors, type JWK, type JWTPayload, jwtVerify } from "jose";

import type { Clock } from "../clock.ts";
import { ErrorReason, Failure } from "../failure.ts";
import { equalSecrets } from "../secret.ts";
import { accessTokenHash, DPOP_ALGORITHM, DPOP_TYP } from "./dpop-key.ts";
import { createReplayCache, type ReplayCache } from "./replay-cache.ts";

/** The request that a proof must be for. */
export interface DpopRequest {
  method: string;
  /** As the client sent it, without the query. */
  path: string;
  /** The session token sent along, if any. */
  accessToken?: string;
}

export interface DpopVerifier {
  /** Checks a proof by RFC 9449 section 4.3 and uses it up. @throws Failure DPOP_INVALID, DPOP_REPLAYED */
  verify(proof: string, request: DpopRequest): Promise<{ thumbprint: string }>;
}

export interface DpopVerifierOptions {
  /**
   * The origins that this server is known by (`https://host:port`). A proof must name one of them: what a request claims of
   * itself (Host) proves nothing. A function, since a server on port 0 knows only once it listens.
   */
  origins: () => readonly string[];
  clock: Clock;
  /** How old a proof may be, and how far ahead its clock, in milliseconds. Default 60 s. */
  maxAgeMs?: number;
  replay?: ReplayCache;
}

/** A proof is some 500 bytes. */
const MAX_PROOF_LENGTH = 4096;

export function createDpopVerifier({
  origins,
  clock,
  maxAgeMs = 60_000,
  replay = createReplayCache(),
}: DpopVerifierOptions): DpopVerifier {
  return {
    async verify(proof, request) {
      if (proof.length > MAX_PROOF_LENGTH) throw invalid("is too long");
      const now = clock();
      const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
        typ: DPOP_TYP,
        algorithms: [DPOP_ALGORITHM],
        requiredClaims: ["jti", "htm", "htu", "iat"],
        currentDate: new Date(now),
      }).catch((error: unknown) => {
        throw explain(error);
      });
      checkRequest(payload, request, origins());
      checkAge(payload, now, maxAgeMs);
      const thumbprint = await calculateJwkThumbprint(protectedHeader.jwk as JWK, "sha256");
      const { jti } = payload;
      if (typeof jti !== "string" || jti === "" || jti.length > 256) throw invalid('has a wrong "jti"');
      // Seen from now on, for as long as it could still pass checkAge.
      if (!replay.use(`${thumbprint}.${jti}`, now + 2 * maxAgeMs, now)) {
        throw new Failure(ErrorReason.DPOP_REPLAYED, "the DPoP proof was used before; make a new one for each request");
      }
      return { thumbprint };
    },
  };
}

function checkRequest(
  payload: JWTPayload,
  { method, path, accessToken }: DpopRequest,
  origins: readonly string[],
): void {
  if (payload["htm"] !== method) throw invalid(`has an "htm" that is not ${method}`);
  const htu = payload["htu"];
  if (typeof htu !== "string" || !origins.some((origin) => htu === origin + path)) {
    throw invalid(`has an "htu" that is not ${origins[0] ?? ""}${path}`);
  }
  if (accessToken === undefined) return;
  const ath = payload["ath"];
  if (typeof ath !== "string" || !equalSecrets(Buffer.from(ath), Buffer.from(accessTokenHash(accessToken)))) {
    throw invalid('has an "ath" that is not the hash of the session token');
  }
}

function checkAge(payload: JWTPayload, now: number, maxAgeMs: number): void {
  const age = now - (payload.iat ?? NaN) * 1000;
  // Written so that NaN fails too. Times are whole seconds: one second of grace ahead of the clock's own.
  if (!(age <= maxAgeMs && age >= -maxAgeMs)) {
    throw invalid("is too old or from the future: is this machine's clock right?");
  }
}

function explain(error: unknown): unknown {
  if (error instanceof errors.JOSEAlgNotAllowed) return invalid(`is not signed with ${DPOP_ALGORITHM}`);
  if (error instanceof errors.JWTClaimValidationFailed) return invalid(`has a wrong or missing "${error.claim}"`);
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid("has a wrong signature");
  // jose throws TypeErrors and DOMExceptions for a JWK that is no key: whatever it is, it came from the caller's text.
  return invalid("is not a DPoP proof with a public P-256 key in its header");
}

function invalid(what: string): Failure {
  return new Failure(ErrorReason.DPOP_INVALID, `the DPoP proof ${what}`);
}
