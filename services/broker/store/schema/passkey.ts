/** The public half of a passkey: `public_key` is the COSE key in base64url, `transports` JSON. */
export interface PasskeyTable {
  credential_id: string;
  omni_account: string;
  public_key: string;
  signature_counter: number;
  transports: string;
  /** 0 or 1. */
  backed_up: number;
  created_at: number;
}

/** What a passkey has to sign, by its SHA-256, for one sign-in or one browser's session. */
export interface PasskeyChallengeTable {
  challenge_hash: string;
  ceremony: string;
  login_id: string | null;
  session_id: string | null;
  expires_at: number;
  spent_at: number | null;
}
