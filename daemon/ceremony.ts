import { confirm, isCancel } from "@clack/prompts";

import { type Access, accessFor } from "./access.ts";
import type { Context } from "./context.ts";
import { openMachine } from "./machine.ts";
import { duration, isoTime, warn } from "./output.ts";
import { printable } from "./printable.ts";
import { Problem, problemOf } from "./problem.ts";
import { mailboxHint } from "./screens/init-words.ts";
import { type SignInEvents, type SignInMethod, startSignIn, untilDecided } from "./sign-in.ts";

/** What a command does in a person's name: the services, under the session that this machine keeps. */
export async function openAccess(context: Context): Promise<Access> {
  const { sessions } = openMachine(context, { onTrouble: (problem) => warn(context, problem) });
  return accessFor(await sessions.current(), { ...context.io, keysUrl: context.settings.keysUrl });
}

/** Asks a person for an identity, and hands the sign-in to `take` until that has it: LinkIdentity, StepUp. */
export async function byCeremony<T>(
  context: Context,
  { asMachine }: Access,
  method: SignInMethod,
  take: (login: { loginId: string; loginSecret: string }) => Promise<T>,
): Promise<T> {
  const { io } = context;
  const events = ceremonyScreen(context);
  const { loginId, loginSecret } = await startSignIn(asMachine, method, printable(io.hostname).slice(0, 64), events);
  return untilDecided(() => take({ loginId, loginSecret }), io, events);
}

/** The identity provider to prove oneself at, for a machine that was not enrolled by mail. */
export interface StepUpOptions {
  stepUpOauth?: string;
}

/** Does `work`; where that needs a fresh sign-in, asks the person for one, and does it once more. */
export async function freshly<T>(
  context: Context,
  access: Access,
  { stepUpOauth }: StepUpOptions,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const problem = problemOf(error);
    if (problem.reason !== "FRESH_SIGN_IN_REQUIRED") throw problem;
    const { identity } = access.enrolment;
    if (stepUpOauth === undefined && identity.type !== "email") {
      throw new Problem(problem.reason, "usage", "This needs a fresh sign-in.", {
        remedy: `Run it again with --step-up-oauth and the name of the provider that you sign in with.`,
        cause: problem,
      });
    }
    if (!context.json) context.io.stdout.write("This needs a fresh sign-in with an identity of your account.\n");
    const method = stepUpOauth === undefined ? { email: identity.value } : { provider: stepUpOauth };
    await byCeremony(context, access, method, (login) => access.asPerson.account.stepUp(login));
    return work();
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
  if (isCancel(answer) || !answer) throw new Problem("CANCELLED", "standing", "Nothing was changed.");
}

function ceremonyScreen({ io, json, settings }: Context): SignInEvents {
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
    hiccup: (problem) => {
      if (problem !== undefined && !away && !json) lines(`${problem.message} Still trying.`);
      away = problem !== undefined;
    },
  };
}
