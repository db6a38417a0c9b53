import type { OmniAccount } from "@agentkeys/lib/account";
import type { EvmAddress } from "@agentkeys/lib/ethereum";

/** The bond between an account and an address: a claim until the wallet's signature proves it. */
export interface WalletLink {
  anchor: OmniAccount;
  address: EvmAddress;
  createdAt: number;
  /** Absent on a claim. */
  verifiedAt?: number;
  /** Set where its owner took it out of use. */
  retiredAt?: number;
}

export interface WalletStore {
  /** Notes a claim; one that stands already, is proven or is retired, stays as it is. */
  claim(anchor: OmniAccount, address: EvmAddress, now: number): Promise<WalletLink>;
  /** Forgets an account's claims to other addresses than this one, all but the newest so many. */
  forgetClaims(anchor: OmniAccount, address: EvmAddress, kept: number): Promise<void>;
  /** Turns a claim into a link: "verified", "no-claim", or "taken" when another account has proven the address. */
  verify(anchor: OmniAccount, address: EvmAddress, now: number): Promise<"verified" | "no-claim" | "taken">;
  /** The one account that has proven the address, whether it is in use or retired. */
  verifiedOwner(address: EvmAddress): Promise<OmniAccount | undefined>;
  /** The link by which the address was proven. */
  verifiedLink(address: EvmAddress): Promise<WalletLink | undefined>;
  /** Takes a verified link out of use (`now`), or back into it (`undefined`). */
  setRetired(address: EvmAddress, now: number | undefined): Promise<void>;
  /** Takes the verified links of one account to another; what was only claimed is forgotten. */
  move(from: OmniAccount, to: OmniAccount): Promise<void>;
  /** The verified ones first, then by age. */
  listOf(anchor: OmniAccount): Promise<WalletLink[]>;
}

/** A question that only the wallet can answer. */
export interface Challenge {
  requestId: string;
  address: EvmAddress;
  /** The exact EIP-4361 text; what comes back is checked against this, never against a client's copy. */
  message: string;
  /** The session that it was started under, with its account and key; absent when anyone started it. */
  startedBy?: { sessionId: string; anchor: OmniAccount; dpopThumbprint?: string };
  /** The sign-in that it confirms, where an own wallet is to sign in; never together with `startedBy`. */
  loginId?: string;
  createdAt: number;
  expiresAt: number;
  spentAt?: number;
}

export interface ChallengeStore {
  insert(challenge: Challenge): Promise<void>;
  find(requestId: string): Promise<Challenge | undefined>;
  /** Spends a challenge that is neither spent nor expired, and gives it as it stands: to exactly one caller. */
  spend(requestId: string, now: number): Promise<Challenge | undefined>;
  /** Forgets those that expired before `time`; returns how many. */
  purge(time: number): Promise<number>;
}
