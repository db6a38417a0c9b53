/** A mail that tells an identity's owner what happened to the account, with a link that stops it. */
export interface NoticeTable {
  notice_id: string;
  anchor: string;
  recipient: string;
  recipient_email: string;
  kind: string;
  subject: string;
  source_address: string;
  actor: string;
  /** JSON of the identity that was taken off, where it was the recipient's own. */
  removed_identity: string | null;
  occurred_at: number;
  expires_at: number;
  token_hash: string | null;
  sent_at: number | null;
  spent_at: number | null;
}
