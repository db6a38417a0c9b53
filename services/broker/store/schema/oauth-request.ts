/** A way to an identity provider and back, by the SHA-256 of its `state`. */
export interface OauthRequestTable {
  state_hash: string;
  login_id: string;
  provider: string;
  browser_hash: string;
  expires_at: number;
  spent_at: number | null;
}
