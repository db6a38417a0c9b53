/** Passkeys (WebAuthn Level 3): made in a browser, used there, and never the beginning of an account. */
export { authenticationOptions, unknownPasskey, verifyAuthentication } from "./authentication.ts";
export {
  addPasskeyOptions,
  type SignedInBrowser,
  stepUpOptions,
  verifyAddedPasskey,
  verifyStepUp,
} from "./browser-session.ts";
export { type Browser, PASSKEY_CHALLENGE_LIFE_MS } from "./challenge.ts";
export { passkeyName } from "./display-name.ts";
export type { PasskeyAnswer, PasskeyParts } from "./parts.ts";
export { registrationOptions, taken, verifyRegistration } from "./registration.ts";
export { passkeysWorkAt, relyingPartyAt } from "./relying-party.ts";
export type {
  Ceremony,
  ChallengeOwner,
  NewPasskey,
  Passkey,
  PasskeyChallenge,
  PasskeyChallengeStore,
  PasskeyStore,
} from "./store.ts";
