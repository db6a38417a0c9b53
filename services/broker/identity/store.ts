import type { IdentityType, OmniAccount } from "@agentkeys/lib/account";

/** A way to prove who one is, with its value in canonical form: what an `omni_account` is computed from. */
export interface IdentityName {
  omniAccount: OmniAccount;
  type: IdentityType;
  value: string;
  /** What it is called for people; it identifies nobody and is never compared. */
  displayName?: string;
}

/** One way to sign in to an account. */
export interface Identity extends IdentityName {
  /** The identity's own name; the first identity's is the account's anchor. */
  omniAccount: OmniAccount;
  /** The account that it signs in to. */
  anchor: OmniAccount;
  linkedAt: number;
  lastUsedAt: number;
  /** Set where the owner of another identity reported it: it signs in to nothing. */
  suspendedAt?: number;
}

/** What all identities of a person lead to. */
export interface Account {
  anchor: OmniAccount;
  /** Set where somebody reported "this was not me": it can be looked at and put right, and nothing else. */
  frozenAt?: number;
  /** Set where it ended in a merge: it is the name of what it was, and nobody's account. */
  mergedInto?: OmniAccount;
}

/** What the rules of identities need of a store: the IdentityLinkStore. No identity is ever in two accounts. */
export interface IdentityStore {
  find(omniAccount: OmniAccount): Promise<Identity | undefined>;
  /** The anchor's identity first, then in the order they were linked. */
  listOf(anchor: OmniAccount): Promise<Identity[]>;
  /** Adds an identity to an account; one that is in an account already makes it throw. */
  link(name: IdentityName, anchor: OmniAccount, times: { linkedAt: number; lastUsedAt: number }): Promise<Identity>;
  /** Notes that somebody proved to be it, and what it is called by now, where that is known. */
  touch(omniAccount: OmniAccount, now: number, displayName?: string): Promise<void>;
  suspend(omniAccount: OmniAccount, now: number): Promise<void>;
  unlink(omniAccount: OmniAccount): Promise<void>;
  /** Takes every identity of one account to another, each as it is. */
  move(from: OmniAccount, to: OmniAccount): Promise<void>;
}

export interface AccountStore {
  find(anchor: OmniAccount): Promise<Account | undefined>;
  insert(anchor: OmniAccount, now: number): Promise<void>;
  freeze(anchor: OmniAccount, now: number): Promise<void>;
  unfreeze(anchor: OmniAccount): Promise<void>;
  /** Ends an account, and those that had ended in it, in favour of another. */
  endIn(anchor: OmniAccount, kept: OmniAccount): Promise<void>;
}
