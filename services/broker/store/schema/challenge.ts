/** A SIWE challenge with the exact text that the wallet has to sign. */
export interface ChallengeTable {
  request_id: string;
  address: string;
  message: string;
  session_id: string | null;
  anchor: string | null;
  dpop_thumbprint: string | null;
  login_id: string | null;
  created_at: number;
  expires_at: number;
  spent_at: number | null;
}
