/** A session as it can be listed and revoked; its token is not kept. */
export interface SessionTable {
  session_id: string;
  kind: string;
  subject: string;
  anchor: string;
  identity: string | null;
  wallet: string | null;
  parent_id: string | null;
  dpop_thumbprint: string | null;
  cookie_hash: string | null;
  device_name: string;
  source_address: string;
  signed_in_at: number;
  created_at: number;
  expires_at: number;
  revoked_at: number | null;
  replaced_by: string | null;
  proven_at: number;
  /** 0 or 1. */
  restricted: number;
  last_used_at: number | null;
  last_audience: string;
}
