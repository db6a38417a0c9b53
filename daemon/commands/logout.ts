import { accessFor } from "../access.ts";
import { type Context, stateFolderOf } from "../context.ts";
import { answer, duration, warn } from "../output.ts";
import { Problem, problemOf } from "../problem.ts";
import { type Enrolment, openState } from "../state/index.ts";

/**
 * `agentkeys logout`: ends the session at the broker that it is for, whatever broker is set now, and removes what this machine keeps.
 * The second happens without the first where the broker cannot be reached or the state cannot be read.
 */
export async function logout(context: Context): Promise<void> {
  const state = openState(stateFolderOf(context));
  let outcome: { revoked: boolean; line: string } = { revoked: false, line: "Nobody was signed in on this machine." };
  await state.clear(async (kept) => {
    if (kept === undefined) return;
    const trouble = kept instanceof Problem ? kept : await revoke(context, kept);
    if (trouble !== undefined) warn(context, notRevoked(trouble, kept, context.io.clock()));
    outcome = { revoked: trouble === undefined, line: "Signed out. This machine keeps nothing any more." };
  });
  answer(context, { signed_out: true, revoked: outcome.revoked }, [outcome.line]);
}

async function revoke({ io, keyService }: Context, kept: Enrolment): Promise<Problem | undefined> {
  try {
    const { asPerson } = await accessFor(kept, { ...io, keyService });
    await asPerson.account.revokeSession({});
    return undefined;
  } catch (error) {
    const problem = problemOf(error);
    // It was over already.
    return problem.kind === "sign-in" ? undefined : problem;
  }
}

function notRevoked(cause: Problem, kept: Enrolment | Problem, now: number): Problem {
  const end = kept instanceof Problem ? "" : `, in ${duration(kept.session.expiresAt - now)}`;
  return new Problem(
    "NOT_REVOKED",
    "passing",
    `What this machine kept is removed, but its session could not be ended at the broker: ${cause.message}`,
    { remedy: `The session ends by itself${end}; to end it now, revoke it from another machine of this account.` },
  );
}
