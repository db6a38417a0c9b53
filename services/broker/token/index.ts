/** Tokens and the keys that sign them: sessions, OIDC JWTs, challenge tokens; rotation and publication. */
export { CHALLENGE_TYP, signChallenge } from "./challenge-token.ts";
export { rotation, type RotationPolicy } from "./keyring.ts";
export { createOidcMinter, DEFAULT_AUDIENCE, discoveryDocument, OIDC_LIFE_MS, type OidcMinter } from "./oidc.ts";
export { mayAskAgain, RENEWAL_GRACE_MS } from "./renewal-grace.ts";
export { renewSession, type RenewalParts } from "./renew-session.ts";
export { revokeSession, type RevocationParts } from "./revoke-session.ts";
export { createKeySealer, type KeySealer } from "./sealer.ts";
export {
  createSessionIssuer,
  type IssuedSession,
  type SessionIssuer,
  type SessionLives,
  sessionLives,
  type SignIn,
  type WalletProof,
} from "./sessions.ts";
export { openSigningKeys, type SigningKeys } from "./signing-keys.ts";
export type { KeyPurpose, SessionRecord, SessionStore, SigningKeyStore, StoredKey } from "./store.ts";
