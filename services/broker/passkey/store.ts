import type { OmniAccount } from "@agentkeys/lib/account";

/** The public half of a passkey as its authenticator made it (WebAuthn Level 3 section 4, "credential record"). */
export interface NewPasskey {
  /** base64url; the identity's value. */
  credentialId: string;
  /** The COSE key, in base64url. */
  publicKey: string;
  /** How often it has signed, as far as it counts: many passkeys always say 0. */
  signatureCounter: number;
  /** How the browser may reach it again, as that said; hints, not facts. */
  transports: readonly string[];
  /** Whether it is kept somewhere else as well, as its maker says. */
  backedUp: boolean;
}

/** A passkey that is linked to an account, by the identity that it proves. */
export interface Passkey extends NewPasskey {
  omniAccount: OmniAccount;
  createdAt: number;
}

export interface PasskeyStore {
  find(credentialId: string): Promise<Passkey | undefined>;
  /** Those of an account, in the order they were made. */
  listOf(anchor: OmniAccount): Promise<Passkey[]>;
  /** Adds one to an identity that is linked; it goes with that identity. */
  insert(passkey: Passkey): Promise<void>;
  /** Notes a signature: false, and nothing noted, where the counter does not go on from where it was (section 7.2 step 22). */
  noteUse(credentialId: string, use: Pick<Passkey, "signatureCounter" | "backedUp">): Promise<boolean>;
}

/** What a passkey is to do: make a new one, or prove that it is there. */
export type Ceremony = "register" | "authenticate";

/** What a challenge was made for. */
export type ChallengeOwner = { loginId: string } | { sessionId: string };

/** What a browser is to have signed, by its hash. */
export interface PasskeyChallenge {
  challengeHash: string;
  ceremony: Ceremony;
  owner: ChallengeOwner;
  expiresAt: number;
}

export interface PasskeyChallengeStore {
  insert(challenge: PasskeyChallenge): Promise<void>;
  /** Spends a challenge of this owner and ceremony that is neither spent nor expired: true for exactly one caller. */
  spend(challenge: Omit<PasskeyChallenge, "expiresAt">, now: number): Promise<boolean>;
  /** Forgets those that expired before `time`; returns how many. */
  purge(time: number): Promise<number>;
}
