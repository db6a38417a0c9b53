import type { EvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import type { Caller } from "../audit/index.ts";
import { refuseLinkedWallet } from "../identity/index.ts";
import { findByHandle, type HeldLogin, heldLogin, type Login, type LoginParts, next } from "../login/index.ts";
import { type ChallengeParts, newChallenge } from "./start-challenge.ts";
import { loginStatement } from "./login-statement.ts";
import type { Challenge, WalletStore } from "./store.ts";

export type LoginChallengeParts = ChallengeParts & Pick<LoginParts, "logins"> & { wallets: WalletStore };

/** Who asks for the challenge of a sign-in: the program that started it, or the page behind its link. */
export type LoginHolder = HeldLogin | { linkToken: string };

/**
 * Makes the challenge that confirms a sign-in once the wallet has signed it. It comes without the broker's word for a key service, which
 * has no business with it. @throws LinkUsed, Failure LOGIN_*, DPOP_INVALID, WALLET_NOT_OWN, RATE_LIMITED
 */
export async function startLoginChallenge(
  parts: LoginChallengeParts,
  { address, holder, caller }: { address: EvmAddress; holder: LoginHolder; caller: Caller },
): Promise<{ challenge: Challenge; login: Login }> {
  await parts.limits.consume("challenges", caller.sourceAddress);
  const login =
    "linkToken" in holder ? await findByHandle(parts, holder, caller) : await heldLogin(parts.logins, holder);
  if (login.method !== "wallet") {
    throw new Failure(
      ErrorReason.LOGIN_NOT_FOUND,
      "the sign-in is not one with a wallet: start it by StartWalletLogin",
    );
  }
  const status = next(login, "prove", parts.clock());
  if (status instanceof Failure) throw status;
  await refuseLinkedWallet(parts.wallets, { type: "evm", value: address });
  const { loginId } = login;
  const { challenge } = newChallenge(parts, { address, statement: loginStatement(login), until: login.expiresAt });
  const ofLogin = { ...challenge, loginId };
  await parts.transaction((tx) => tx.challenges.insert(ofLogin));
  return { challenge: ofLogin, login };
}
