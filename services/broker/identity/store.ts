import type { IdentityType, OmniAccount } from "@agentkeys/lib/account";

/** One way to sign in to an account. */
export interface Identity {
  /** The identity's own name; the first identity's is the account's anchor. */
  omniAccount: OmniAccount;
  type: IdentityType;
  /** In its canonical form. */
  value: string;
  /** The account that it signs in to. */
  anchor: OmniAccount;
  linkedAt: number;
  lastUsedAt: number;
}

/** What the rules of identities need of a store: the IdentityLinkStore. */
export interface IdentityStore {
  /**
   * Notes that somebody proved to be this identity, and gives the identity as it stands then. One that was never seen
   * before gets an account of its own, which it anchors.
   */
  signIn(name: Pick<Identity, "omniAccount" | "type" | "value">, now: number): Promise<Identity>;
  find(omniAccount: OmniAccount): Promise<Identity | undefined>;
  /** The anchor's identity first, then in the order they were linked. */
  listOf(anchor: OmniAccount): Promise<Identity[]>;
}
