/** Who people are: identities, the accounts that they anchor, and the one way to name both. */
export {
  admissionRefusal,
  admit,
  DORMANT_AFTER_MS,
  type IdentityRules,
  isDormant,
  nameIdentity,
  seenAgain,
} from "./admission.ts";
export { type DisplayName, parseDisplayName } from "./display-name.ts";
export { type Email, parseEmail } from "./email.ts";
export { refuseLinkedWallet, type VerifiedWallets } from "./own-wallet.ts";
export type { Account, AccountStore, Identity, IdentityName, IdentityStore } from "./store.ts";
