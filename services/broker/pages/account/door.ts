import type { Context } from "hono";
import { html } from "hono/html";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { equalSecrets } from "@agentkeys/lib/secret";

import { type BrowserSession, openBrowserSession } from "../../browser/index.ts";
import { isForm, type PageEnv } from "../forms.ts";
import { page } from "../layout.ts";
import { type Problem, problemPage } from "../other-pages.ts";
import { fromOwnPage } from "../same-origin.ts";
import { accountCookie, clearAccountCookie } from "./account-cookie.ts";
import type { AccountPageParts } from "./parts.ts";

/** One request for a page of the account's. */
export interface Visit {
  parts: AccountPageParts;
  c: Context<PageEnv>;
}

export type SignedInVisit = Visit & { session: BrowserSession };

export async function sessionOf({ parts, c }: Visit): Promise<BrowserSession | undefined> {
  const cookie = accountCookie(c);
  return cookie === undefined ? undefined : openBrowserSession(parts, cookie);
}

/** Shows a page to whoever is signed in; others are shown how to. Changes nothing. */
export async function showTo(visit: Visit, show: (visit: SignedInVisit) => Promise<Response>): Promise<Response> {
  const { c } = visit;
  return explaining(visit, async () => {
    const session = await sessionOf(visit);
    if (session !== undefined) return show({ ...visit, session });
    return comingFromElsewhere(visit) ? knockAgain(visit) : c.redirect("/account", 303);
  });
}

/** A `Strict` cookie does not come along from another site: nobody is known yet. */
export function comingFromElsewhere({ c }: Visit): boolean {
  return ["cross-site", "same-site"].includes(c.req.header("sec-fetch-site") ?? "");
}

/** A page of ours asks once more, and now the cookie comes along. What stood in the stranger's link beside the path is dropped. */
export function knockAgain({ c }: Visit): Response | Promise<Response> {
  const { path } = c.req;
  return c.html(
    page({
      title: "Your account",
      goTo: path,
      body: html`<div class="card">
        <h1>One moment</h1>
        <a class="button go" href="${path}">Go on to your account</a>
      </div>`,
    }),
  );
}

/** A form that anybody's browser may send, if it comes from a page of ours. */
export async function takeForm(visit: Visit, answer: (form: URLSearchParams) => Promise<Response>): Promise<Response> {
  const { parts, c } = visit;
  if (!fromOwnPage(c.req.raw.headers, parts.publicUrl(), { needsSign: true })) {
    return c.html(problemPage(foreignForm), 403);
  }
  if (!isForm(c.req.header("content-type"))) return c.html(problemPage(noForm), 415);
  return explaining(visit, async () => answer(new URLSearchParams(await c.req.text())));
}

/** A form of somebody who is signed in: from a page of ours, and with the token that only this session's pages have. */
export async function takeFormOf(
  visit: Visit,
  answer: (visit: SignedInVisit, form: URLSearchParams) => Promise<Response>,
): Promise<Response> {
  const { c } = visit;
  return takeForm(visit, async (form) => {
    const session = await sessionOf(visit);
    if (session === undefined) return c.html(problemPage(signedOut), 401);
    if (!carriesToken(form, session)) return c.html(problemPage(oldForm), 403);
    return answer({ ...visit, session }, form);
  });
}

export function carriesToken(form: URLSearchParams, session: BrowserSession): boolean {
  return isTokenOf(session, form.get("form"));
}

export function isTokenOf({ formToken }: BrowserSession, given: unknown): boolean {
  return typeof given === "string" && equalSecrets(Buffer.from(given), Buffer.from(formToken));
}

/** What the RPCs are refused by their restricted session. @throws Failure ACCOUNT_FROZEN */
export function refuseFrozen({ session }: SignedInVisit): void {
  if (session.frozenAt === undefined) return;
  throw new Failure(
    ErrorReason.ACCOUNT_FROZEN,
    "the account is frozen: look at what happened and put it back to work first",
  );
}

/** What goes wrong becomes a page; what needs a newer proof leads to where that is given, and back to `here`. */
export async function explaining({ c }: Visit, answer: () => Promise<Response>, here = "/account"): Promise<Response> {
  try {
    return await answer();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (error.reason === ErrorReason.FRESH_SIGN_IN_REQUIRED) return c.redirect(pathToProof(here), 303);
    if (error.reason === ErrorReason.SESSION_REVOKED) {
      clearAccountCookie(c);
      return c.html(problemPage(signedOut), 401);
    }
    const retryAfter = error.details.retryAfterMs;
    if (retryAfter !== undefined) c.header("retry-after", String(Math.ceil(retryAfter / 1000)));
    const [status, title] = explanations[error.reason] ?? [503, "Not now"];
    const explanation = error.message.charAt(0).toUpperCase() + error.message.slice(1) + ".";
    return c.html(problemPage({ title, explanation, onward }), status);
  }
}

/** Where somebody proves anew who they are, to come back to a page of the account's. */
export function pathToProof(then: string): string {
  return `/account/prove?then=${encodeURIComponent(then)}`;
}

type Status = 400 | 401 | 403 | 404 | 409 | 410 | 429 | 503;

const explanations: Partial<Record<ErrorReason, readonly [Status, string]>> = {
  [ErrorReason.LOGIN_NOT_FOUND]: [404, "No such sign-in"],
  [ErrorReason.LOGIN_EXPIRED]: [410, "Too late"],
  [ErrorReason.LOGIN_REFUSED]: [410, "Refused"],
  [ErrorReason.LOGIN_PENDING]: [409, "Not yet"],
  [ErrorReason.LOGIN_PURPOSE]: [409, "Not for this"],
  [ErrorReason.DPOP_INVALID]: [403, "Not this browser's"],
  [ErrorReason.INVALID_EMAIL]: [400, "That is no address"],
  [ErrorReason.INVALID_OMNI_ACCOUNT]: [404, "Not found"],
  [ErrorReason.PROVIDER_UNKNOWN]: [404, "No such provider"],
  [ErrorReason.RATE_LIMITED]: [429, "Too many tries"],
  [ErrorReason.IDENTITY_NOT_FOUND]: [404, "Not one of yours"],
  [ErrorReason.SESSION_NOT_FOUND]: [404, "It has ended already"],
  [ErrorReason.LAST_IDENTITY]: [409, "It is the last one"],
  [ErrorReason.WRONG_ACCOUNT]: [403, "Not of this account"],
  [ErrorReason.IDENTITY_SUSPENDED]: [403, "Suspended"],
  [ErrorReason.IDENTITY_UNLINKED]: [403, "Taken off"],
  [ErrorReason.SECOND_IDENTITY_REQUIRED]: [403, "Not with this one alone"],
  [ErrorReason.MERGE_OFFER_CHANGED]: [409, "Something has changed"],
  [ErrorReason.ACCOUNT_FROZEN]: [403, "Frozen"],
  [ErrorReason.WALLET_NOT_LINKED]: [404, "Not one of yours"],
  [ErrorReason.INVALID_ADDRESS]: [404, "Not found"],
  [ErrorReason.WALLET_TAKEN]: [409, "Another account's"],
};

const onward = { href: "/account", text: "To your account" };

const foreignForm: Problem = {
  title: "Not from here",
  explanation: "This form was sent by a page that is not ours. Nothing was changed.",
  onward,
};

const noForm: Problem = { title: "Not a form", explanation: "This address takes what the form on our page sends." };

const signedOut: Problem = {
  title: "Signed out",
  explanation: "This browser is not signed in any more. Nothing was changed.",
  onward: { href: "/account", text: "Sign in" },
};

const oldForm: Problem = {
  title: "This page was too old",
  explanation: "You have signed in anew since it was opened. Nothing was changed: open it again and press once more.",
  onward,
};
