/** A claim to an address, and, once `verified_at` is set, the one link that it has. */
export interface WalletLinkTable {
  anchor: string;
  address: string;
  created_at: number;
  verified_at: number | null;
  retired_at: number | null;
}
