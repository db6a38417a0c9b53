/** A way to sign in to an account. */
export interface IdentityTable {
  omni_account: string;
  type: string;
  value: string;
  display_name: string;
  anchor: string;
  linked_at: number;
  last_used_at: number;
  suspended_at: number | null;
}
