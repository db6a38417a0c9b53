import type { AuditStore } from "../audit/index.ts";
import type { AccountStore, IdentityStore } from "../identity/index.ts";
import type { LoginStore, OauthRequestStore } from "../login/store.ts";
import type { NoticeStore } from "../notices/store.ts";
import type { PasskeyChallengeStore, PasskeyStore } from "../passkey/store.ts";
import type { SessionStore, SigningKeyStore } from "../token/index.ts";
import type { ChallengeStore, WalletStore } from "../wallet/store.ts";

/** Everything that the broker remembers, in the words of the domain folders that need it. */
export interface Repositories {
  accounts: AccountStore;
  identities: IdentityStore;
  logins: LoginStore;
  oauthRequests: OauthRequestStore;
  passkeys: PasskeyStore;
  passkeyChallenges: PasskeyChallengeStore;
  notices: NoticeStore;
  sessions: SessionStore;
  wallets: WalletStore;
  challenges: ChallengeStore;
  signingKeys: SigningKeyStore;
  audit: AuditStore;
}

/** Runs `work` in one transaction: all of it is kept, or, when it throws, none of it. */
export type Transaction = <T>(work: (tx: Repositories) => Promise<T>) => Promise<T>;

/** @throws from every method Failure STORE_UNAVAILABLE when the store cannot be read or written. */
export interface BrokerStore extends Repositories {
  transaction: Transaction;
  /** Resolves when the store can really be written. */
  check(): Promise<void>;
  close(): Promise<void>;
}
