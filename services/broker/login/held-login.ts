import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { equalSecrets } from "@agentkeys/lib/secret";

import { hashOf } from "./secrets.ts";
import { gone } from "./state-machine.ts";
import type { Login, LoginPurpose, LoginStore } from "./store.ts";

/** What the program that started a sign-in holds of it. */
export interface HeldLogin {
  loginId: string;
  loginSecret: string;
  /** Of the key that proved itself on this call. */
  dpopThumbprint: string | undefined;
}

/**
 * The sign-in, if the caller is who started it, and started it for this (where `purpose` is given). A wrong secret and an unknown id
 * look the same. @throws Failure LOGIN_NOT_FOUND, LOGIN_PURPOSE, DPOP_INVALID
 */
export async function heldLogin(
  logins: Pick<LoginStore, "find">,
  held: HeldLogin,
  purpose?: LoginPurpose,
): Promise<Login> {
  const login = await logins.find(held.loginId);
  const given = Buffer.from(hashOf(held.loginSecret));
  if (login === undefined || !equalSecrets(given, Buffer.from(login.secretHash))) throw gone();
  if (login.dpopThumbprint !== held.dpopThumbprint) {
    throw new Failure(
      ErrorReason.DPOP_INVALID,
      login.dpopThumbprint === undefined
        ? "the sign-in was started without a DPoP proof, so its session cannot be bound to a key now"
        : "the sign-in was started with a DPoP key: collect it with a proof by the same key",
    );
  }
  if (purpose !== undefined && login.purpose !== purpose) {
    const [started, asked] = [uses[login.purpose], uses[purpose]];
    throw new Failure(
      ErrorReason.LOGIN_PURPOSE,
      `the sign-in was started to ${started}, and cannot be used to ${asked}`,
    );
  }
  return login;
}

/** What the person was told that they agree to. */
const uses: Record<LoginPurpose, string> = {
  "sign-in": "sign a machine in",
  link: "link an identity",
  "step-up": "prove anew who somebody is",
};
