/** Why a policy is not used. Programs match on the reason. */
export type PolicyRefusal =
  /** It does not say what a policy has to say; the message begins with the place. */
  | "POLICY_INVALID"
  /** Others may change it, or the key that it names. */
  | "POLICY_PERMISSIONS";

/** A policy cannot be used: then nothing is believed. The message is a sentence without its full stop. */
export class PolicyRefused extends Error {
  override readonly name = "PolicyRefused";

  constructor(
    readonly reason: PolicyRefusal,
    message: string,
    readonly remedy?: string,
  ) {
    super(message);
  }
}
