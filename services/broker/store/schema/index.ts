import type { AccountTable } from "./account.ts";
import type { AuditEventTable } from "./audit-event.ts";
import type { ChallengeTable } from "./challenge.ts";
import type { IdentityTable } from "./identity.ts";
import type { LoginTable } from "./login.ts";
import type { NoticeTable } from "./notice.ts";
import type { OauthRequestTable } from "./oauth-request.ts";
import type { PasskeyChallengeTable, PasskeyTable } from "./passkey.ts";
import type { SessionTable } from "./session.ts";
import type { SettingTable } from "./setting.ts";
import type { SigningKeyTable } from "./signing-key.ts";
import type { WalletLinkTable } from "./wallet-link.ts";

/** The tables as Kysely sees them; `migrations/` makes them. Times are epoch milliseconds; ids of accounts and hashes are lower-case hex. */
export interface Database {
  setting: SettingTable;
  account: AccountTable;
  identity: IdentityTable;
  login: LoginTable;
  notice: NoticeTable;
  oauth_request: OauthRequestTable;
  passkey: PasskeyTable;
  passkey_challenge: PasskeyChallengeTable;
  session: SessionTable;
  wallet_link: WalletLinkTable;
  challenge: ChallengeTable;
  signing_key: SigningKeyTable;
  audit_event: AuditEventTable;
}

export type {
  AccountTable,
  AuditEventTable,
  ChallengeTable,
  IdentityTable,
  LoginTable,
  NoticeTable,
  OauthRequestTable,
  PasskeyChallengeTable,
  PasskeyTable,
  SessionTable,
  SettingTable,
  SigningKeyTable,
  WalletLinkTable,
};
