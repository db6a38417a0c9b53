import type { OmniAccount } from "@agentkeys/lib/account";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Session } from "@agentkeys/lib/session";

/**
 * Who may use an account's wallet: the holder of an identity session of that very account. Without a session there is
 * nobody to compare with: such calls reach this far only on a development backend without a broker, from loopback.
 * @returns the caller's name for the sign log. @throws Failure WRONG_ACCOUNT
 */
export function authorize(session: Session | undefined, omniAccount: OmniAccount): string {
  if (session === undefined) return "loopback";
  if (session.anchor !== omniAccount) {
    throw new Failure(ErrorReason.WRONG_ACCOUNT, "the session speaks for another account than omni_account");
  }
  return session.id;
}
