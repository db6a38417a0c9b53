/** What a person does with the account: linking, merging, taking off, proving anew, lifting a freeze. */
export { endOtherSessions, endSession } from "./end-sessions.ts";
export { linkIdentity, type MergeOffer, reviewMerge } from "./link-identity.ts";
export { linkPasskey } from "./link-passkey.ts";
export { mergeAccount } from "./merge-account.ts";
export {
  type AccountParts,
  type Actor,
  isFresh,
  PROOF_FOR_LINK_MS,
  PROOF_FOR_UNLINK_MS,
  type ProvenRequest,
} from "./parts.ts";
export { retireWallet } from "./retire-wallet.ts";
export { stepUp, stepUpByPasskey, unfreezeAccount } from "./step-up.ts";
export { unlinkIdentity } from "./unlink-identity.ts";
