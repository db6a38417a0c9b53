import { openAccess } from "../ceremony.ts";
import type { Context } from "../context.ts";
import { answer } from "../output.ts";
import { printable } from "../printable.ts";
import { table } from "../table.ts";
import { identityJson, identityWords, moment, typeName } from "../wire-identity.ts";

/** `agentkeys identities`: who can sign in to the account. */
export async function identities(context: Context): Promise<void> {
  const { asPerson, enrolment } = await openAccess(context);
  const { identities: all } = await asPerson.account.listIdentities({});
  const marks = (omniAccount: string, suspended: boolean): string =>
    [omniAccount === enrolment.omniAccount ? "first" : "", suspended ? "SUSPENDED" : ""].filter(Boolean).join(", ");
  const rows = all.map(({ omniAccount, type, value, displayName, linkedAt, lastUsedAt, suspended }) => [
    printable(omniAccount).slice(0, 10),
    typeName(type),
    identityWords({ type, value, displayName }),
    moment(linkedAt),
    moment(lastUsedAt),
    marks(omniAccount, suspended),
  ]);
  answer(
    context,
    { identities: all.map(identityJson) },
    table([["ID", "TYPE", "IDENTITY", "LINKED (UTC)", "LAST USED", ""], ...rows]),
  );
}
