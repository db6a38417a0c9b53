import { timestampDate } from "@bufbuild/protobuf/wkt";

import type { MergeOffer } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";
import type { WalletLink } from "@agentkeys/gen/agentkeys/broker/v1/identity_pb";

import { printable } from "./printable.ts";
import { identityJson, moment } from "./wire-identity.ts";

/** What a merge would do, for the person who has to agree to it. */
export function offerLines(offer: MergeOffer): string[] {
  return [
    "This identity signs in to another account. Nothing has been changed yet.",
    `  kept    ${printable(offer.keptAccount)}, wallet ${verified(offer.keptWallets).join(", ") || "none"}`,
    `  ends    ${printable(offer.endedAccount)}, wallet ${verified(offer.endedWallets).join(", ") || "none"}`,
    ...offer.endedIdentities.map(
      ({ value, lastUsedAt }) => `          with ${printable(value)}, last used ${moment(lastUsedAt)}`,
    ),
    "Merging moves these identities here, signs their machines out, and gives up the wallet that the key service holds for the",
    "account that ends: what your cloud policies allow that wallet, nobody can use any more.",
    "To keep the other account instead, sign in with it and link this one from there.",
  ];
}

/** The same for a program, which may show it to somebody before it comes back with `--merge`. */
export function offerJson(offer: MergeOffer): object {
  return {
    event: "merge_offer",
    offer_id: printable(offer.offerId),
    kept_account: printable(offer.keptAccount),
    kept_wallets: verified(offer.keptWallets),
    ended_account: printable(offer.endedAccount),
    ended_wallets: verified(offer.endedWallets),
    ended_identities: offer.endedIdentities.map(identityJson),
    ...(offer.expiresAt !== undefined && { expires_at: timestampDate(offer.expiresAt).toISOString() }),
  };
}

/** Claims give no rights, so that nothing is lost with one. */
function verified(all: readonly WalletLink[]): string[] {
  return all.filter((wallet) => wallet.verified).map(({ checksumAddress }) => printable(checksumAddress));
}
