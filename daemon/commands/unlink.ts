import { agreed, freshly, openAccess, type StepUpOptions } from "../ceremony.ts";
import type { Context } from "../context.ts";
import { answer } from "../output.ts";
import { printable } from "../printable.ts";
import { Problem } from "../problem.ts";
import { isRestricted } from "../restricted.ts";
import { identityJson, identityWords } from "../wire-identity.ts";

/** `agentkeys unlink`: takes an identity off the account, by its value or the beginning of its id. */
export async function unlink(
  context: Context,
  text: string,
  options: StepUpOptions & { yes?: boolean },
): Promise<void> {
  const access = await openAccess(context);
  const { account } = access.asPerson;
  const { identities } = await account.listIdentities({});
  const matching = identities.filter(
    ({ value, omniAccount }) =>
      value === text.trim().toLowerCase() || value === text || (text.length >= 8 && omniAccount.startsWith(text)),
  );
  const [target] = matching;
  if (target === undefined || matching.length > 1) {
    const why =
      target === undefined
        ? "No identity of this account is called so, or has an id that begins so (at least 8 characters)."
        : "More than one identity begins so: give more of its id.";
    throw new Problem("IDENTITY_NOT_FOUND", "usage", why, { remedy: "`agentkeys identities` lists them." });
  }
  const name = identityWords(target);
  await agreed(context, `Take ${name} off the account? Its machines are signed out.`, {
    yes: options.yes === true,
    flag: "--yes",
  });
  await freshly(context, access, options, () => account.unlinkIdentity({ omniAccount: target.omniAccount }));
  const self =
    printable(target.value) === access.enrolment.identity.value
      ? ["This machine was signed in with it: run `agentkeys init` with another one."]
      : [];
  answer(context, { unlinked: identityJson(target) }, [`${name} no longer signs in to this account.`, ...self]);
}

/** `agentkeys unfreeze`: lifts the freeze of an account that its owner has looked at. */
export async function unfreeze(context: Context, options: StepUpOptions): Promise<void> {
  const access = await openAccess(context);
  const { account } = access.asPerson;
  const { frozenAt } = await account.whoAmI({});
  if (frozenAt !== undefined) await freshly(context, access, options, () => account.unfreezeAccount({}));
  const restricted = isRestricted(access.enrolment.session.token);
  answer(context, { was_frozen: frozenAt !== undefined, sign_in_needed: frozenAt !== undefined || restricted }, [
    frozenAt === undefined ? "The account is not frozen." : "The account works again.",
    ...(frozenAt !== undefined || restricted ? ["Run `agentkeys init` to sign this machine in."] : []),
  ]);
}
