import type { Clock } from "@agentkeys/lib/clock";
import type { RandomBytes } from "@agentkeys/lib/random";

import type { AuditStore } from "../audit/index.ts";
import type { AccountStore, IdentityRules, IdentityStore, VerifiedWallets } from "../identity/index.ts";
import type { Limits } from "../limits/index.ts";
import type { NoticeStore } from "../notices/index.ts";
import type { PasskeyChallengeStore, PasskeyStore } from "../passkey/index.ts";
import type { SessionIssuer, SessionStore } from "../token/index.ts";
import type { Bell } from "./bell.ts";
import type { LoginStore, OauthRequestStore } from "./store.ts";

/** What the steps of a sign-in are made of. */
export interface LoginParts extends IdentityRules {
  logins: LoginStore;
  identities: IdentityStore;
  passkeys: PasskeyStore;
  passkeyChallenges: PasskeyChallengeStore;
  audit: AuditStore;
  transaction: <T>(
    work: (tx: {
      logins: LoginStore;
      oauthRequests: OauthRequestStore;
      identities: IdentityStore;
      accounts: AccountStore;
      wallets: VerifiedWallets;
      sessions: SessionStore;
      notices: NoticeStore;
      audit: AuditStore;
    }) => Promise<T>,
  ) => Promise<T>;
  limits: Limits;
  sessionIssuer: SessionIssuer;
  bell: Bell;
  publicUrl: () => string;
  clock: Clock;
  random: RandomBytes;
}
