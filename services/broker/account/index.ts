/** What a person does with the account: linking, merging, taking off, proving anew, lifting a freeze. */
export { linkIdentity, type MergeOffer } from "./link-identity.ts";
export { linkPasskey } from "./link-passkey.ts";
export { mergeAccount } from "./merge-account.ts";
export type { AccountParts, ProvenRequest } from "./parts.ts";
export { retireWallet } from "./retire-wallet.ts";
export { stepUp, unfreezeAccount } from "./step-up.ts";
export { unlinkIdentity } from "./unlink-identity.ts";
