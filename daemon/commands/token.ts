import type { Context } from "../context.ts";
import { mintOidcJwt } from "../enrolment.ts";
import { openMachine } from "../machine.ts";
import { answer, isoTime, warn } from "../output.ts";

/** `agentkeys token`: an OIDC JWT about this machine's wallet, for AWS STS or another relying party that the broker allows. */
export async function token(context: Context, { audience }: { audience?: string }): Promise<void> {
  const { wallet } = openMachine(context, { onTrouble: (problem) => warn(context, problem) });
  const { jwt, expiresAt } = await wallet.use((access, session) => mintOidcJwt(access, session, audience));
  answer(context, { jwt: jwt.reveal(), expires_at: isoTime(expiresAt) }, [jwt.reveal()]);
}
