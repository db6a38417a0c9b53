/** One person, or one organisation, by the omni_account of the first identity. */
export interface AccountTable {
  anchor: string;
  created_at: number;
  frozen_at: number | null;
  merged_into: string | null;
}
