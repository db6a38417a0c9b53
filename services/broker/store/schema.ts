import type { Generated } from "kysely";

/** The tables as Kysely sees them; `migrations/` makes them. Times are epoch milliseconds; hashes are lower-case hex. */
export interface Database {
  setting: SettingTable;
  account: AccountTable;
  identity: IdentityTable;
  login: LoginTable;
  session: SessionTable;
  wallet_link: WalletLinkTable;
  challenge: ChallengeTable;
  signing_key: SigningKeyTable;
  audit_event: AuditEventTable;
}

export interface SettingTable {
  name: string;
  value: string;
}

export interface AccountTable {
  anchor: string;
  created_at: number;
}

export interface IdentityTable {
  omni_account: string;
  type: string;
  value: string;
  anchor: string;
  linked_at: number;
  last_used_at: number;
}

export interface LoginTable {
  login_id: string;
  email: string;
  secret_hash: string;
  confirm_hash: string;
  user_code: string;
  dpop_thumbprint: string | null;
  device_name: string;
  source_address: string;
  user_agent: string;
  status: string;
  created_at: number;
  expires_at: number;
  decided_at: number | null;
}

export interface SessionTable {
  session_id: string;
  kind: string;
  subject: string;
  anchor: string;
  identity: string | null;
  wallet: string | null;
  parent_id: string | null;
  dpop_thumbprint: string | null;
  device_name: string;
  source_address: string;
  signed_in_at: number;
  created_at: number;
  expires_at: number;
  revoked_at: number | null;
}

export interface WalletLinkTable {
  anchor: string;
  address: string;
  created_at: number;
  verified_at: number | null;
}

export interface ChallengeTable {
  request_id: string;
  address: string;
  message: string;
  session_id: string | null;
  anchor: string | null;
  dpop_thumbprint: string | null;
  created_at: number;
  expires_at: number;
  spent_at: number | null;
}

export interface SigningKeyTable {
  kid: string;
  purpose: string;
  public_jwk: string;
  private_key: string;
  created_at: number;
  active_from: number;
}

export interface AuditEventTable {
  event_id: Generated<number>;
  occurred_at: number;
  anchor: string | null;
  action: string;
  outcome: string;
  session_id: string;
  source_address: string;
  request_id: string;
  subject: string;
}
