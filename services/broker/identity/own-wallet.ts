import type { OmniAccount } from "@agentkeys/lib/account";
import { type EvmAddress, parseEvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import type { IdentityName } from "./store.ts";

/** What the rule about own wallets needs to know of the wallets that are linked to accounts. */
export interface VerifiedWallets {
  /** The one account that has proven the address. */
  verifiedOwner(address: EvmAddress): Promise<OmniAccount | undefined>;
}

/**
 * An address is a wallet of an account or an identity of its own, never both. A key service signs for the linked ones: who has stolen a
 * session for an hour could otherwise have an identity signed for that outlives it. @throws Failure WALLET_NOT_OWN
 */
export async function refuseLinkedWallet(
  wallets: VerifiedWallets,
  { type, value }: Pick<IdentityName, "type" | "value">,
): Promise<void> {
  if (type !== "evm" || (await wallets.verifiedOwner(parseEvmAddress(value))) === undefined) return;
  throw new Failure(
    ErrorReason.WALLET_NOT_OWN,
    "this address is the wallet of an account, which a key service signs for: sign in with a wallet whose key is your own",
  );
}
