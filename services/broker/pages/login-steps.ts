import type { Context } from "hono";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";

import {
  AnswerRefused,
  ConsentRefused,
  decideLogin,
  goToProvider,
  type Login,
  type LoginHandle,
  LinkUsed,
  type OauthParts,
  returnFromProvider,
  reviewLogin,
} from "../login/index.ts";
import { waitingLogin } from "./account/waiting-cookie.ts";
import { browserSecret, ensureBrowserSecret } from "./cookies.ts";
import { isForm, type PageEnv } from "./forms.ts";
import type { Markup } from "./layout.ts";
import { confirmedPage, type FormField, leavingPage, refusedPage, reviewPage } from "./login-pages.ts";
import { passkeyReviewPage } from "./passkey-pages.ts";
import { type Problem, problemPage } from "./other-pages.ts";
import { fromOwnPage } from "./same-origin.ts";
import { walletReviewPage } from "./wallet-pages.ts";

export interface LoginStepParts {
  login: OauthParts;
  publicUrl: () => string;
}

/** What a form of the sign-in pages asks for: to be shown the sign-in, to go on to the provider, or to decide it. */
export type LoginStep = "review" | "continue" | "confirm" | "refuse";

/** Answers a form of the sign-in pages. All but `review` change something. */
export async function takeStep(parts: LoginStepParts, step: LoginStep, c: Context<PageEnv>): Promise<Response> {
  return answerForm(parts, c, async (form) => c.html(await pageAfter(parts.login, step, form, c)));
}

/** The browser comes back from a provider: what it brought is used up, and the person is shown who they are there. */
export async function comeBack({ login: parts }: LoginStepParts, c: Context<PageEnv>): Promise<Response> {
  return explaining(c, async () => {
    const secret = browserSecret(c);
    if (secret === undefined) throw new AnswerRefused();
    const callback = new URL(new URL(c.req.url).search, `${parts.publicUrl()}${c.req.path}`);
    const name = c.req.param("provider") ?? "";
    const login = await returnFromProvider(parts, { name, callback, browserSecret: secret, caller: c.env.info });
    // What the provider sent leaves the address bar, and coming back to this address later asks nobody anything.
    return c.redirect(`/login/returned/${login.loginId}`, 303);
  });
}

/** The second question, for the browser that went to the provider. */
export async function showReturned({ login: parts }: LoginStepParts, c: Context<PageEnv>): Promise<Response> {
  return explaining(c, async () => {
    const loginId = c.req.param("login") ?? "";
    const handle = { loginId, browserSecret: browserSecret(c) ?? "" };
    const login = await reviewLogin(parts, handle, c.env.info);
    return c.html(reviewPage(login, reviewOptions(parts, login, ["login", loginId], c)));
  });
}

async function pageAfter(
  parts: OauthParts,
  step: LoginStep,
  form: URLSearchParams,
  c: Context<PageEnv>,
): Promise<Markup> {
  const caller = c.env.info;
  const linkToken = tokenIn(form);
  if (step === "review" || step === "continue") {
    if (linkToken === undefined) throw noLink();
    if (step === "review") {
      const login = await reviewLogin(parts, { linkToken }, caller);
      if (login.method === "passkey") {
        return passkeyReviewPage(login, {
          linkToken,
          readerAddress: caller.sourceAddress,
          publicUrl: parts.publicUrl(),
          startedHere: wasStartedHere(login, c),
        });
      }
      if (login.method === "wallet")
        return walletReviewPage(login, {
          token: linkToken,
          readerAddress: caller.sourceAddress,
          startedHere: wasStartedHere(login, c),
        });
      return reviewPage(login, reviewOptions(parts, login, ["token", linkToken], c));
    }
    const secret = ensureBrowserSecret(c, parts.random);
    const { url, provider } = await goToProvider(parts, { linkToken, browserSecret: secret, caller });
    return leavingPage(url, provider.title);
  }
  const login = await decideLogin(parts, step, handleIn(form, linkToken, c), caller);
  return step === "confirm" ? confirmedPage(login, wasStartedHere(login, c)) : refusedPage(login);
}

function handleIn(form: URLSearchParams, linkToken: string | undefined, c: Context<PageEnv>): LoginHandle {
  if (linkToken !== undefined) return { linkToken };
  const loginId = form.get("login") ?? "";
  const secret = browserSecret(c);
  if (secret === undefined || loginId === "") throw noLink();
  return { loginId, browserSecret: secret };
}

function reviewOptions({ providers }: OauthParts, login: Login, field: FormField, c: Context<PageEnv>) {
  const title = login.provider === undefined ? undefined : (providers.get(login.provider)?.title ?? login.provider);
  return {
    field,
    readerAddress: c.env.info.sourceAddress,
    startedHere: wasStartedHere(login, c),
    ...(title !== undefined && { providerTitle: title }),
  };
}

/** Whether this browser holds the secrets of the sign-in: the strongest sign that the person who reads it started it. */
export function wasStartedHere({ loginId }: Login, c: Context): boolean {
  return waitingLogin(c, loginId) !== undefined;
}

/** Reads a form of a page of ours, and answers it; what goes wrong becomes a page too. */
export async function answerForm(
  { publicUrl }: Pick<LoginStepParts, "publicUrl">,
  c: Context<PageEnv>,
  answer: (form: URLSearchParams) => Promise<Response>,
): Promise<Response> {
  if (!fromOwnPage(c.req.raw.headers, publicUrl())) return c.html(problemPage(foreignForm), 403);
  if (!isForm(c.req.header("content-type"))) return c.html(problemPage(noForm), 415);
  return explaining(c, async () => answer(new URLSearchParams(await c.req.text())));
}

export async function explaining(c: Context<PageEnv>, answer: () => Promise<Response>): Promise<Response> {
  try {
    return await answer();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const retryAfter = error.details.retryAfterMs;
    if (retryAfter !== undefined) c.header("retry-after", String(Math.ceil(retryAfter / 1000)));
    const { status, problem } = explained(error);
    return c.html(problemPage(problem), status);
  }
}

/** The secret in a pasted link, or the bare secret. */
export function tokenIn(form: URLSearchParams): string | undefined {
  const given = form.get("token") ?? form.get("link") ?? "";
  return /^(?:\S*#)?([A-Za-z0-9_-]{43})$/.exec(given.trim())?.[1];
}

export function noLink(): Failure {
  return new Failure(ErrorReason.LOGIN_NOT_FOUND, "that is not a link of ours");
}

const again = "To start again, run agentkeys init in your terminal.";

const foreignForm: Problem = {
  title: "Not from here",
  explanation: "This form was sent by a page that is not ours. Open the link that you were given.",
};

const noForm: Problem = { title: "Not a form", explanation: "This address takes what the form on our page sends." };

export function explained(failure: Failure): { status: 400 | 403 | 404 | 410 | 429 | 503; problem: Problem } {
  const explanation = sentence(failure);
  if (failure instanceof LinkUsed) return { status: 410, problem: usedLink };
  if (failure instanceof ConsentRefused) return { status: 410, problem: refusedThere };
  if (failure instanceof AnswerRefused) return { status: 400, problem: strayAnswer };
  switch (failure.reason) {
    case ErrorReason.LOGIN_NOT_FOUND:
      return { status: 404, problem: { title: "This link does not work", explanation, hint: again } };
    case ErrorReason.LOGIN_EXPIRED:
      return { status: 410, problem: { title: "This link has expired", explanation, hint: again } };
    case ErrorReason.LOGIN_REFUSED:
      return { status: 410, problem: { title: "This sign-in was refused", explanation, hint: again } };
    case ErrorReason.PROVIDER_UNKNOWN:
      return { status: 404, problem: { title: "No such provider", explanation, hint: again } };
    case ErrorReason.INVALID_REQUEST:
      return { status: 400, problem: { title: "Not understood", explanation } };
    case ErrorReason.CHALLENGE_NOT_FOUND:
    case ErrorReason.NOT_SERVED:
    case ErrorReason.PASSKEY_UNKNOWN:
    case ErrorReason.SIGNATURE_INVALID:
    case ErrorReason.WRONG_ACCOUNT:
    case ErrorReason.IDENTITY_SUSPENDED:
      return { status: 403, problem: { title: "Not this passkey", explanation } };
    case ErrorReason.ACCOUNT_FROZEN:
    case ErrorReason.SESSION_REVOKED:
      return { status: 403, problem: { title: "Not this browser", explanation } };
    case ErrorReason.RATE_LIMITED:
      return { status: 429, problem: { title: "Too many tries", explanation } };
    default:
      return { status: 503, problem: { title: "Not now", explanation } };
  }
}

/** A failure's message for a page. */
export function sentence({ message }: Failure): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}

const usedLink: Problem = {
  title: "This link was used already",
  explanation: "A link works once. If you have just pressed the button, all is well: go back to your terminal.",
  hint: "If it was not you who pressed it, somebody else can open it too: refuse sign-ins that you did not start.",
};

const refusedThere: Problem = {
  title: "Refused",
  explanation: "You said no at the provider, and nobody was signed in.",
  hint: again,
};

const strayAnswer: Problem = {
  title: "This answer belongs to no sign-in",
  explanation:
    "What came back from the provider was used already, is too old, or was asked for in another browser. Nobody was signed in.",
  hint: "Open the link that your terminal shows once more, or run agentkeys init again.",
};
