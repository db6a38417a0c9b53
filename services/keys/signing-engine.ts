import type { OmniAccount } from "@agentkeys/lib/account";
import type { EvmAddress } from "@agentkeys/lib/ethereum";

/** A wallet as seen from outside: what may leave the trust boundary. */
export interface Wallet {
  address: EvmAddress;
  /** The version of the derivation that made its key. */
  keyVersion: number;
}

/**
 * Holds the master secret and uses it; nothing else in the process can reach it. A backend makes one: the development
 * backend from a setting, a TEE from what it unsealed. Asynchronous, since a master secret may live in another chip.
 */
export interface SigningEngine {
  /** The wallet of an account. */
  walletOf(omniAccount: OmniAccount): Promise<Wallet>;
  /** Signs an EIP-191 personal message: `0x`, r, s, v in hex. */
  sign(omniAccount: OmniAccount, message: Uint8Array): Promise<{ wallet: Wallet; signature: string }>;
  /** Zeroes the master secret. The engine is of no use afterwards. */
  destroy(): void;
}
