import { confirm, isCancel } from "@clack/prompts";

import { LoginPurpose } from "@agentkeys/gen/agentkeys/broker/v1/login_service_pb";

import { type Access, accessFor } from "./access.ts";
import type { Context } from "./context.ts";
import { openMachine } from "./machine.ts";
import { duration, isoTime, warn } from "./output.ts";
import { printable } from "./printable.ts";
import { ExitCode, Problem, problemOf } from "./problem.ts";
import { askSignature } from "./screens/ask-signature.ts";
import { mailboxHint, passkeyPageWords } from "./screens/init-words.ts";
import { type SignInEvents, type StartedSignIn, startSignIn, untilDecided } from "./sign-in.ts";
import { type SignInMethod, walletMethod } from "./sign-in-method.ts";
import type { Enrolment } from "./state/index.ts";

/** What a command does in a person's name: the services, under the session that this machine keeps. */
export async function openAccess(context: Context): Promise<Access> {
  const { sessions } = openMachine(context, { onTrouble: (problem) => warn(context, problem) });
  return accessFor(await sessions.current(), { ...context.io, keyService: context.keyService });
}

/** A sign-in that a person was asked for, on top of the one that this machine has. */
export interface Ceremony {
  /**
   * Hands the sign-in to `take` (LinkIdentity, StepUp …) until the person has decided, and the broker has answered.
   * @throws Problem LOGIN_* where the person has refused, or not decided in time
   */
  decided<T>(take: (login: StartedSignIn) => Promise<T>): Promise<T>;
}

/** Asks a person for an identity. The proof by the device key on this call is what lets this machine alone use the sign-in. */
export async function startCeremony(
  context: Context,
  { asMachine, enrolment }: Access,
  method: SignInMethod,
  purpose: LoginPurpose.LINK | LoginPurpose.STEP_UP,
): Promise<Ceremony> {
  const { io } = context;
  const events = ceremonyScreen(context);
  const { loginId, loginSecret } = await startSignIn(
    asMachine,
    {
      ...{ method, purpose },
      deviceName: printable(io.hostname).slice(0, 64),
      sites: [enrolment.brokerUrl, enrolment.issuer],
    },
    events,
  );
  return {
    decided: (take) =>
      untilDecided(() => take({ loginId, loginSecret }), io, events, "Nothing was changed. Run the command again."),
  };
}

/** How to prove oneself, where it is not as the machine was enrolled. */
export interface StepUpOptions {
  /** The name of an identity provider. */
  stepUpOauth?: string;
  /** A wallet of one's own, with or without its address. */
  stepUpWallet?: string | true;
  /** What a wallet signs is typed in. */
  paste?: boolean;
  stepUpPasskey?: boolean;
}

/** Does `work`; where that needs a fresh sign-in, asks the person for one, and does it once more. */
export async function freshly<T>(
  context: Context,
  access: Access,
  options: StepUpOptions,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const problem = problemOf(error);
    if (problem.reason !== "FRESH_SIGN_IN_REQUIRED") throw problem;
    await signInAnew(context, access, options, problem);
    return work();
  }
}

/** Has the person of this account prove themselves now. @throws Problem FRESH_SIGN_IN_REQUIRED where the way to do so has to be named */
export async function signInAnew(
  context: Context,
  access: Access,
  options: StepUpOptions,
  cause?: Problem,
): Promise<void> {
  const method = stepUpMethod(access.enrolment, options);
  if (method === undefined) {
    throw new Problem("FRESH_SIGN_IN_REQUIRED", "usage", "This needs a fresh sign-in.", {
      remedy: `Run it again with --step-up-oauth and the name of the provider that you sign in with, or with --step-up-wallet or --step-up-passkey.`,
      cause,
    });
  }
  context.io.stdout.write(
    context.json
      ? JSON.stringify({ event: "fresh_sign_in_needed" }) + "\n"
      : "This needs a fresh sign-in with an identity of your account.\n",
  );
  const ceremony = await startCeremony(context, access, method, LoginPurpose.STEP_UP);
  await ceremony.decided((login) => stepUp(access, login));
}

/** What the person is asked for: what they say, else what they enrolled this machine with. */
function stepUpMethod(
  { identity }: Enrolment,
  { stepUpOauth, stepUpWallet, paste, stepUpPasskey }: StepUpOptions,
): SignInMethod | undefined {
  if (stepUpPasskey === true) return { passkey: true };
  if (stepUpWallet !== undefined) return { wallet: walletMethod(stepUpWallet, paste ?? false) };
  if (stepUpOauth !== undefined) return { provider: stepUpOauth };
  if (identity.type === "email") return { email: identity.value };
  if (identity.type === "passkey") return { passkey: true };
  return identity.type === "evm" ? { wallet: walletMethod(identity.value, paste ?? false) } : undefined;
}

async function stepUp({ asPerson }: Access, login: StartedSignIn): Promise<void> {
  try {
    await asPerson.account.stepUp(login);
  } catch (error) {
    const problem = problemOf(error);
    if (problem.reason !== "WRONG_ACCOUNT") throw problem;
    throw new Problem(problem.reason, "standing", "Whoever signed in just now is nobody of this account.", {
      remedy: "Run the command again, and sign in as one of those that `agentkeys identities` lists.",
      cause: problem,
    });
  }
}

/** Asks a person; where there is none, or `yes` is given, does not. @throws Problem CANCELLED, and USAGE where nobody can be asked */
export async function agreed(
  { io, json }: Context,
  question: string,
  { yes, flag }: { yes: boolean; flag: string },
): Promise<void> {
  if (yes) return;
  if (json || io.stdin.isTTY !== true || io.stdout.isTTY !== true) {
    throw new Problem("USAGE", "usage", "This has to be agreed to, and there is nobody to ask. Nothing was changed.", {
      remedy: `Run it again with ${flag} if it is what you want.`,
    });
  }
  const answer = await confirm({ message: question, initialValue: false, input: io.stdin, output: io.stdout });
  if (answer === true) return;
  const exitCode = isCancel(answer) ? ExitCode.interrupted : ExitCode.failure;
  throw new Problem("CANCELLED", "standing", "Nothing was changed.", { exitCode });
}

function ceremonyScreen(context: Context): SignInEvents {
  const { io, json, settings } = context;
  const { stdout, clock } = io;
  const emit = (fields: object): void => void stdout.write(JSON.stringify(fields) + "\n");
  const lines = (...all: string[]): void => all.forEach((line) => stdout.write(line + "\n"));
  const patience = (expiresAt: number): string => `Waiting, for ${duration(expiresAt - clock())} at the most.`;
  let away = false;
  return {
    mailed: (email, code, expiresAt) => {
      if (json) emit({ event: "mailed", email, user_code: code, expires_at: isoTime(expiresAt) });
      else {
        lines(`A mail is on its way to ${email}.`, ...mailboxHint(settings.brokerUrl));
        lines(`Open the link in it. If the page shows this very code, press its button: ${code}`, patience(expiresAt));
      }
    },
    openPage: (url, provider, code, expiresAt) => {
      if (json) emit({ event: "open_page", url, provider, user_code: code, expires_at: isoTime(expiresAt) });
      else {
        lines(`Open this page, on this machine or another one, and sign in with ${provider}:`, `  ${url}`);
        lines(`If it shows this very code, press its button, before and after: ${code}`, patience(expiresAt));
      }
    },
    openPasskeyPage: (url, code, expiresAt) => {
      if (json) emit({ event: "open_page", url, provider: "passkey", user_code: code, expires_at: isoTime(expiresAt) });
      else {
        lines(...passkeyPageWords, `  ${url}`);
        lines(`If it shows this very code, press its button: ${code}`, patience(expiresAt));
      }
    },
    openWalletPage: (url, code, expiresAt) => {
      if (json) emit({ event: "open_page", url, provider: "wallet", user_code: code, expires_at: isoTime(expiresAt) });
      else {
        lines("Open this page in a browser that has your wallet:", `  ${url}`);
        lines(`Sign there if the page and the wallet show this very code: ${code}`, patience(expiresAt));
      }
    },
    askSignature: (toSign) => askSignature(context, toSign),
    hiccup: (problem) => {
      if (problem !== undefined && !away) {
        if (json) emit({ event: "waiting", reason: problem.reason, message: problem.text });
        else lines(`${problem.message} Still trying.`);
      }
      away = problem !== undefined;
    },
  };
}
