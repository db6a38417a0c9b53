import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { equalSecrets } from "@agentkeys/lib/secret";

import { hashOf } from "./secrets.ts";
import { gone } from "./state-machine.ts";
import type { Login, LoginStore } from "./store.ts";

/** What the program that started a sign-in holds of it. */
export interface HeldLogin {
  loginId: string;
  loginSecret: string;
  /** Of the key that proved itself on this call. */
  dpopThumbprint: string | undefined;
}

/**
 * The sign-in, if the caller is who started it. A wrong secret and an unknown id look the same.
 * @throws Failure LOGIN_NOT_FOUND, DPOP_INVALID
 */
export async function heldLogin(logins: Pick<LoginStore, "find">, held: HeldLogin): Promise<Login> {
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
  return login;
}
