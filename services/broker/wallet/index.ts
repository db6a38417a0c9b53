/** Wallets: claims, links, and the challenges that turn one into the other. */
export { CHALLENGE_LIFE_MS, type ChallengeParts, startChallenge } from "./start-challenge.ts";
export type { Challenge, ChallengeStore, WalletLink, WalletStore } from "./store.ts";
export { type VerifyParts, verifyWallet, type WalletAnswer } from "./verify-wallet.ts";
