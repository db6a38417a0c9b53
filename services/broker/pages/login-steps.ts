import type { Context } from "hono";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { RequestInfo } from "@agentkeys/lib/rpc";

import { decideLogin, type LoginParts, LinkUsed, reviewLogin } from "../login/index.ts";
import type { Markup } from "./layout.ts";
import { confirmedPage, refusedPage, reviewPage } from "./login-pages.ts";
import { type Problem, problemPage } from "./other-pages.ts";
import { fromOwnPage } from "./same-origin.ts";

export type PageEnv = { Bindings: { info: RequestInfo } };

export interface LoginStepParts {
  login: LoginParts;
  publicUrl: () => string;
}

/** What a form of the sign-in pages asks for: to be shown the sign-in, or to decide it. */
export type LoginStep = "review" | "confirm" | "refuse";

/** Answers a form of the sign-in pages. Only `confirm` and `refuse` change anything. */
export async function takeStep(parts: LoginStepParts, step: LoginStep, c: Context<PageEnv>): Promise<Response> {
  if (!fromOwnPage(c.req.raw.headers, parts.publicUrl())) return c.html(problemPage(foreignForm), 403);
  if (!isForm(c.req.header("content-type"))) return c.html(problemPage(noForm), 415);
  try {
    const token = tokenIn(new URLSearchParams(await c.req.text()));
    if (token === undefined) throw new Failure(ErrorReason.LOGIN_NOT_FOUND, "that is not a sign-in link");
    return c.html(await pageAfter(parts.login, step, token, c.env.info));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const retryAfter = error.details.retryAfterMs;
    if (retryAfter !== undefined) c.header("retry-after", String(Math.ceil(retryAfter / 1000)));
    const { status, problem } = explained(error);
    return c.html(problemPage(problem), status);
  }
}

async function pageAfter(login: LoginParts, step: LoginStep, token: string, caller: RequestInfo): Promise<Markup> {
  switch (step) {
    case "review":
      return reviewPage(await reviewLogin(login, token, caller), token, caller.sourceAddress);
    case "confirm":
      return confirmedPage(await decideLogin(login, "confirm", token, caller));
    case "refuse":
      await decideLogin(login, "refuse", token, caller);
      return refusedPage();
  }
}

function isForm(contentType: string | undefined): boolean {
  return contentType?.split(";")[0]?.trim().toLowerCase() === "application/x-www-form-urlencoded";
}

/** The secret in a pasted link, or the bare secret. */
function tokenIn(form: URLSearchParams): string | undefined {
  const given = form.get("token") ?? form.get("link") ?? "";
  return /^(?:\S*#)?([A-Za-z0-9_-]{43})$/.exec(given.trim())?.[1];
}

const again = "To start again, run agentkeys init in your terminal.";

const foreignForm: Problem = {
  title: "Not from here",
  explanation: "This form was sent by a page that is not ours. Open the link from your mail.",
};

const noForm: Problem = { title: "Not a form", explanation: "This address takes what the form on our page sends." };

function explained(failure: Failure): { status: 404 | 410 | 429 | 503; problem: Problem } {
  const explanation = failure.message.charAt(0).toUpperCase() + failure.message.slice(1) + ".";
  if (failure instanceof LinkUsed) return { status: 410, problem: usedLink };
  switch (failure.reason) {
    case ErrorReason.LOGIN_NOT_FOUND:
      return { status: 404, problem: { title: "This link does not work", explanation, hint: again } };
    case ErrorReason.LOGIN_EXPIRED:
      return { status: 410, problem: { title: "This link has expired", explanation, hint: again } };
    case ErrorReason.LOGIN_REFUSED:
      return { status: 410, problem: { title: "This sign-in was refused", explanation, hint: again } };
    case ErrorReason.RATE_LIMITED:
      return { status: 429, problem: { title: "Too many tries", explanation } };
    default:
      return { status: 503, problem: { title: "Not now", explanation } };
  }
}

const usedLink: Problem = {
  title: "This link was used already",
  explanation: "A link works once. If you have just pressed the button, all is well: go back to your terminal.",
  hint: "If it was not you who pressed it, somebody else can open your mail.",
};
