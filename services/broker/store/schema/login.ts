/** A sign-in under way. Its secrets are SHA-256 hashes in lower-case hex. */
export interface LoginTable {
  login_id: string;
  method: string;
  purpose: string;
  provider: string | null;
  identity_type: string | null;
  identity_value: string | null;
  display_name: string;
  /** JSON of the passkey that this sign-in made, until it is linked. */
  new_passkey: string | null;
  browser_hash: string | null;
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
