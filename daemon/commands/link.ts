import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";

import { agreed, freshly, openAccess, startCeremony, type StepUpOptions } from "../ceremony.ts";
import type { Context } from "../context.ts";
import { offerJson, offerLines } from "../merge-offer.ts";
import { answer } from "../output.ts";
import { printable } from "../printable.ts";
import { Problem, problemOf } from "../problem.ts";
import { invalidAnswer } from "../services.ts";
import type { StartedSignIn } from "../sign-in.ts";
import { methodIn, type MethodOptions, type SignInMethod } from "../sign-in-method.ts";
import { identityJson, identityWords } from "../wire-identity.ts";

export interface LinkOptions extends StepUpOptions, MethodOptions {
  merge?: boolean;
}

/** `agentkeys link`: adds a way to sign in to the account. One that has an account of its own is merged, if the person agrees. */
export async function link(context: Context, options: LinkOptions): Promise<void> {
  const method = methodOf(options);
  const access = await openAccess(context);
  const { account } = access.asPerson;
  const ceremony = await startCeremony(context, access, method, LoginPurpose.LINK);
  // The one mail does for every try: what was confirmed stays so until it is used.
  const withIt = <T>(take: (login: StartedSignIn) => Promise<T>): Promise<T> =>
    freshly(context, access, options, () => ceremony.decided(take));

  const { identity, mergeOffer } = await withIt((login) => account.linkIdentity(login).catch(explainLink));
  if (identity !== undefined) {
    answer(context, { linked: identityJson(identity) }, [`${identityWords(identity)} signs in to this account now.`]);
    return;
  }
  if (mergeOffer === undefined) throw invalidAnswer("broker", "it does not say what was linked");
  const { offerId, endedAccount } = mergeOffer;
  answer(context, offerJson(mergeOffer), offerLines(mergeOffer));
  await agreed(context, "Merge the two accounts? This cannot be undone.", {
    yes: options.merge === true,
    flag: "--merge",
  });
  const merged = await withIt((login) => account.mergeAccount({ ...login, offerId }).catch(explainMerge));
  answer(
    context,
    { merged: { ended_account: printable(endedAccount), identities: merged.identities.map(identityJson) } },
    [`The accounts are one now, with ${merged.identities.length} identities.`],
  );
}

/** Some refusals are about the identity to be linked, and say something else than when a machine signs in. */
function explainLink(error: unknown): never {
  const problem = problemOf(error);
  const words = otherWords[problem.reason];
  if (words === undefined) throw problem;
  throw new Problem(problem.reason, "standing", words.message, { remedy: words.remedy, cause: problem });
}

/** This machine's own account has been let through by LinkIdentity, so that what is frozen is the other one. */
function explainMerge(error: unknown): never {
  const problem = problemOf(error);
  if (problem.reason !== "ACCOUNT_FROZEN") explainLink(problem);
  throw new Problem(problem.reason, "standing", "The account that would end is frozen. Nothing was merged.", {
    remedy: "Sign in to that one on another machine, look at it, and run `agentkeys unfreeze` there first.",
    cause: problem,
  });
}

const otherWords: Partial<Record<string, { message: string; remedy: string }>> = {
  IDENTITY_SUSPENDED: {
    message: "This identity was reported by the owner of another identity of its account. Nothing was changed.",
    remedy: "If `agentkeys identities` lists it, take it off with `agentkeys unlink` first.",
  },
  SECOND_IDENTITY_REQUIRED: {
    message: "This mailbox was not used for long, and may be another person's by now. Nothing was changed.",
    remedy: "Link another identity of its account: that brings this one along.",
  },
};

function methodOf(options: LinkOptions): SignInMethod {
  const remedy = "For example: `agentkeys link --email you@example.com`.";
  const method = methodIn(options, remedy);
  if (method !== undefined) return method;
  throw new Problem("USAGE", "usage", "Give --email, --oauth, --wallet or --passkey: what is to be linked.", {
    remedy,
  });
}
