/** Wallets: claims, links, the challenges that turn one into the other, and what a linked wallet is given. */
export { claimWallet, type ClaimParts } from "./claim-wallet.ts";
export type { ContractWallets } from "./contract-wallets.ts";
export { mintForWallet, type MintParts } from "./mint-for-wallet.ts";
export { CHALLENGE_LIFE_MS, type ChallengeParts, startChallenge } from "./start-challenge.ts";
export { type LoginChallengeParts, startLoginChallenge } from "./start-login-challenge.ts";
export type { Challenge, ChallengeStore, WalletLink, WalletStore } from "./store.ts";
export { type VerifyParts, verifyWallet, type WalletAnswer, type WalletOutcome } from "./verify-wallet.ts";
