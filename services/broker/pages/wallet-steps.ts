import type { Context } from "hono";

import { parseEvmAddress } from "@agentkeys/lib/ethereum";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import { reviewLogin } from "../login/index.ts";
import { type LoginChallengeParts, startLoginChallenge, type VerifyParts, verifyWallet } from "../wallet/index.ts";
import { confirmedPage } from "./login-pages.ts";
import type { PageEnv } from "./forms.ts";
import { answerForm, type LoginStepParts, noLink, sentence, tokenIn, wasStartedHere } from "./login-steps.ts";
import { walletMessagePage, walletReviewPage } from "./wallet-pages.ts";

export type WalletStepParts = LoginStepParts & { wallet: LoginChallengeParts & VerifyParts };

/** As VerifyWallet's: of a key, or of a contract. */
const SIGNATURE = /^0x([0-9a-fA-F]{2}){65,4096}$/;

/** The person says which address it is, and is shown what its wallet has to sign. */
export async function showChallenge(parts: WalletStepParts, c: Context<PageEnv>): Promise<Response> {
  return answerForm(parts, c, async (form) => {
    const caller = c.env.info;
    const token = tokenIn(form);
    if (token === undefined) throw noLink();
    const login = await reviewLogin(parts.login, { linkToken: token }, caller);
    const options = { token, readerAddress: caller.sourceAddress, startedHere: wasStartedHere(login, c) };
    try {
      const address = parseEvmAddress((form.get("address") ?? "").trim());
      const { challenge } = await startLoginChallenge(parts.wallet, { address, holder: { linkToken: token }, caller });
      return await c.html(walletMessagePage(login, challenge, options));
    } catch (error) {
      const problem = wordsOf(error, [ErrorReason.INVALID_ADDRESS, ErrorReason.WALLET_NOT_OWN]);
      return c.html(walletReviewPage(login, { ...options, problem }), 400);
    }
  });
}

/** The signature has come: it stands for the person's Yes. */
export async function takeSignature(parts: WalletStepParts, c: Context<PageEnv>): Promise<Response> {
  return answerForm(parts, c, async (form) => {
    const caller = c.env.info;
    const token = tokenIn(form);
    if (token === undefined) throw noLink();
    const login = await reviewLogin(parts.login, { linkToken: token }, caller);
    const options = { token, readerAddress: caller.sourceAddress, startedHere: wasStartedHere(login, c) };
    const challenge = await parts.wallet.challenges.find(form.get("request_id") ?? "");
    if (challenge?.loginId !== login.loginId) throw noLink();
    const signature = (form.get("signature") ?? "").trim();
    try {
      if (!SIGNATURE.test(signature)) {
        throw new Failure(ErrorReason.SIGNATURE_INVALID, "that is no signature: it is 0x and 130 hex characters");
      }
      const { requestId } = challenge;
      const outcome = await verifyWallet(parts.wallet, { requestId, signature, dpopThumbprint: undefined, caller });
      return await c.html(confirmedPage("login" in outcome ? outcome.login : login, options.startedHere));
    } catch (error) {
      const over = [ErrorReason.CHALLENGE_EXPIRED, ErrorReason.CHALLENGE_SPENT, ErrorReason.WALLET_NOT_OWN];
      if (error instanceof Failure && over.includes(error.reason))
        return c.html(walletReviewPage(login, { ...options, problem: wordsOf(error, over) }), 400);
      const problem = wordsOf(error, [ErrorReason.SIGNATURE_INVALID, ErrorReason.CHAIN_UNAVAILABLE]);
      return c.html(walletMessagePage(login, challenge, { ...options, problem }), 400);
    }
  });
}

/** What was wrong, where the same page can be tried again; anything else has a page of its own. */
function wordsOf(error: unknown, reasons: readonly ErrorReason[]): string {
  if (error instanceof Failure && reasons.includes(error.reason)) return sentence(error);
  throw error;
}
