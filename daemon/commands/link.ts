import type { MergeOffer } from "@agentkeys/gen/agentkeys/broker/v1/account_service_pb";

import { agreed, byCeremony, freshly, openAccess, type StepUpOptions } from "../ceremony.ts";
import type { Context } from "../context.ts";
import { answer } from "../output.ts";
import { printable } from "../printable.ts";
import { Problem } from "../problem.ts";
import type { SignInMethod } from "../sign-in.ts";
import { identityJson, moment } from "../wire-identity.ts";

export interface LinkOptions extends StepUpOptions {
  email?: string;
  oauth?: string;
  merge?: boolean;
}

/** `agentkeys link`: adds a way to sign in to the account. One that has an account of its own is merged, if the person agrees. */
export async function link(context: Context, options: LinkOptions): Promise<void> {
  const method = methodOf(options);
  const access = await openAccess(context);
  const { account } = access.asPerson;
  const { login, response } = await byCeremony(context, access, method, async (held) => ({
    login: held,
    // The one mail does for both tries: what was confirmed stays so until it is used.
    response: await freshly(context, access, options, () => account.linkIdentity(held)),
  }));
  const { identity, mergeOffer } = response;
  if (identity !== undefined) {
    const value = printable(identity.value);
    answer(context, { linked: identityJson(identity) }, [`${value} signs in to this account now.`]);
    return;
  }
  if (mergeOffer === undefined) throw new Problem("ANSWER_INVALID", "standing", "The broker's answer says nothing.");
  if (!context.json) context.io.stdout.write(offerLines(mergeOffer).join("\n") + "\n");
  await agreed(context, "Merge the two accounts? This cannot be undone.", {
    yes: options.merge === true,
    flag: "--merge",
  });
  const { offerId } = mergeOffer;
  const merged = await freshly(context, access, options, () => account.mergeAccount({ ...login, offerId }));
  answer(
    context,
    { merged: { ended_account: mergeOffer.endedAccount, identities: merged.identities.map(identityJson) } },
    [`The accounts are one now, with ${merged.identities.length} identities.`],
  );
}

function methodOf({ email, oauth }: LinkOptions): SignInMethod {
  if (email !== undefined && oauth === undefined) return { email };
  if (oauth !== undefined && email === undefined) return { provider: oauth };
  throw new Problem("USAGE", "usage", "Give --email or --oauth: what is to be linked.", {
    remedy: "For example: `agentkeys link --email you@example.com`.",
  });
}

function offerLines(offer: MergeOffer): string[] {
  const wallets = (all: MergeOffer["keptWallets"]): string =>
    all
      .filter(({ verified }) => verified)
      .map(({ checksumAddress }) => printable(checksumAddress))
      .join(", ") || "none";
  return [
    "This identity signs in to another account. Nothing has been changed yet.",
    `  kept    ${offer.keptAccount}, wallet ${wallets(offer.keptWallets)}`,
    `  ends    ${offer.endedAccount}, wallet ${wallets(offer.endedWallets)}`,
    ...offer.endedIdentities.map(
      ({ value, lastUsedAt }) => `          with ${printable(value)}, last used ${moment(lastUsedAt)}`,
    ),
    "Merging moves these identities here, signs their machines out, and gives up the wallet that the key service holds for the",
    "account that ends: what your cloud policies allow that wallet, nobody can use any more.",
    "To keep the other account instead, sign in with it and link this one from there.",
  ];
}
