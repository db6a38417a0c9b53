/**
 * Session tokens and the proofs that go with them (RFC 9068, RFC 9449): how a server checks them and how a client presents
 * them. One implementation for every process; what a session may do is said by each RPC's `access` option in its proto.
 */
export { authenticate, type AuthenticateOptions, currentSession, dpopProof, type Refusal } from "./authenticate.ts";
export { createDpopKey, type DpopKey, generateDpopKey } from "./dpop-key.ts";
export { createDpopVerifier, type DpopRequest, type DpopVerifier, type DpopVerifierOptions } from "./dpop-verifier.ts";
export { presentSession } from "./present.ts";
export { createReplayCache, type ReplayCache } from "./replay-cache.ts";
export { createRevocationCache, type RevocationCacheOptions } from "./revocation.ts";
export {
  createSessionVerifier,
  type Session,
  SESSION_ALGORITHM,
  SESSION_AUDIENCE,
  SESSION_TYP,
  type SessionKind,
  type SessionVerifier,
  type SessionVerifierOptions,
} from "./session.ts";
export { remoteSessionKeys } from "./session-keys.ts";
