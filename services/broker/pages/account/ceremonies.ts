import { SECOND } from "@agentkeys/lib/clock";
import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import { parseOmniAccount } from "@agentkeys/lib/account";

import { isFresh, linkIdentity, mergeAccount, PROOF_FOR_LINK_MS, reviewMerge, stepUp } from "../../account/index.ts";
import { browserLogin, browserName, changeCookie, signInBrowser, watchLogin } from "../../browser/index.ts";
import { BROWSER_BINDING, gone, type LoginPurpose, next } from "../../login/index.ts";
import { revokeSession } from "../../token/index.ts";
import { setAccountCookie } from "./account-cookie.ts";
import { pathWhen } from "./banners.ts";
import {
  carriesToken,
  explaining,
  pathToProof,
  refuseFrozen,
  sessionOf,
  type SignedInVisit,
  type Visit,
} from "./door.ts";
import { linkPage } from "./link-page.ts";
import { mergePage } from "./merge-page.ts";
import { provePage } from "./prove-page.ts";
import { returnPath } from "./return-path.ts";
import {
  waitFor,
  waitingLogin,
  type WaitingLogin,
  waitingLogins,
  waitNoMoreFor,
  waitOnlyFor,
} from "./waiting-cookie.ts";
import { confirmedHerePage, waitingPage } from "./waiting-page.ts";
import { type Way, waysOf } from "./ways.ts";

/** How long an answer about a sign-in may take: proxies cut idle requests after 30 s or more. */
const PATIENCE_MS = 20 * SECOND;

/** Starts a sign-in as any program would, and hands its secrets to this browser alone. */
export async function start(
  { c }: Visit,
  { way, address, purpose, then }: { way: Way; address: string; purpose: LoginPurpose; then: string },
): Promise<Response> {
  const {
    loginId,
    loginSecret,
    linkToken = "",
  } = await way.start(
    {
      purpose,
      deviceName: browserName(c.env.info.userAgent),
      dpopThumbprint: BROWSER_BINDING,
      caller: c.env.info,
    },
    address,
  );
  waitFor(c, { loginId, loginSecret: loginSecret.reveal(), linkToken, then });
  return c.redirect(`/account/waiting/${loginId}`, 303);
}

/** The way that a form names. @throws Failure PROVIDER_UNKNOWN */
export function wayIn(visit: Visit, form: URLSearchParams): { way: Way; address: string } {
  const way = wayOf(visit, ({ id }) => id === form.get("way"));
  return { way, address: form.get("email") ?? "" };
}

/** @throws Failure PROVIDER_UNKNOWN: a form or a sign-in of before this broker was set up anew */
function wayOf({ parts }: Visit, fits: (way: Way) => boolean): Way {
  const way = waysOf(parts).find(fits);
  if (way === undefined) throw new Failure(ErrorReason.PROVIDER_UNKNOWN, "this broker has no such way to sign in");
  return way;
}

/** Shows how a sign-in of this browser stands. Changes nothing, however often it is asked for. */
export async function showWaiting(visit: Visit): Promise<Response> {
  const { parts, c } = visit;
  return explaining(visit, async () => {
    const waiting = waitingLogin(c, c.req.param("login") ?? "");
    const session = await sessionOf(visit);
    if (waiting === undefined) {
      // Another tab was quicker, or somebody pressed "back".
      if (session !== undefined) return c.redirect("/account", 303);
      throw gone();
    }
    const login = await browserLogin(parts, waiting);
    const status = next(login, "collect", parts.clock());
    if (!(status instanceof Failure)) return c.html(confirmedHerePage(login, session?.formToken ?? ""));
    if (status.reason !== ErrorReason.LOGIN_PENDING) throw status;
    return c.html(
      waitingPage(
        login,
        waiting,
        wayOf(visit, (way) => way.started(login)),
      ),
    );
  });
}

/** Answers the page's script, as soon as there is something to say: whether it is still to wait. */
export async function tellState({ parts, c }: Visit): Promise<Response> {
  const waiting = waitingLogin(c, c.req.param("login") ?? "");
  const state = waiting === undefined ? "over" : await watchLogin(parts, waiting, PATIENCE_MS);
  return c.json({ state });
}

/** Takes up what was confirmed, each for what it was started for: the first press in this browser after the person's own. */
export async function collect(visit: Visit, form: URLSearchParams): Promise<Response> {
  const { parts, c } = visit;
  const session = await sessionOf(visit);
  const waiting = waitingLogin(c, form.get("login") ?? "");
  if (waiting === undefined) {
    if (session !== undefined) return c.redirect("/account", 303);
    throw gone();
  }
  const { purpose } = await browserLogin(parts, waiting);
  if (purpose === "sign-in") {
    const { cookie } = await signInBrowser(parts, waiting, c.env.info);
    // Whoever was signed in here before is not any more: one browser, one person.
    if (session !== undefined) await revokeSession(parts, session.id, session, c.env.info).catch(ignoreEnded);
    setAccountCookie(c, cookie);
    waitOnlyFor(c, await otherSignIns(visit, waiting));
    return c.redirect(waiting.then, 303);
  }
  if (session === undefined) throw new Failure(ErrorReason.SESSION_REVOKED, "this browser is not signed in");
  // The page is older than the last proof: it is shown anew, with what a form needs now.
  if (!carriesToken(form, session)) return c.redirect(`/account/waiting/${waiting.loginId}`, 303);
  const signedIn = { ...visit, session };
  return purpose === "link" ? collectLink(signedIn, waiting) : collectProof(signedIn, waiting);
}

/**
 * The other tabs that are to sign somebody in. What else was begun here was begun by whoever was signed in before, and is not for who is
 * now: a link would go to their account.
 */
async function otherSignIns({ parts, c }: Visit, { loginId }: WaitingLogin): Promise<string[]> {
  const others = waitingLogins(c).filter((each) => each.loginId !== loginId);
  const logins = await Promise.all(others.map((each) => parts.logins.find(each.loginId)));
  return logins.flatMap((login) => (login?.purpose === "sign-in" ? [login.loginId] : []));
}

async function collectLink(visit: SignedInVisit, waiting: WaitingLogin): Promise<Response> {
  const { parts, c } = visit;
  const here = `/account/waiting/${waiting.loginId}`;
  return explaining(
    visit,
    async () => {
      refuseFrozen(visit);
      const outcome = await linkIdentity(parts, proven(visit, waiting));
      if ("offerId" in outcome) return c.redirect(`/account/merge/${waiting.loginId}`, 303);
      waitNoMoreFor(c, waiting.loginId);
      return c.redirect(pathWhen("linked"), 303);
    },
    here,
  );
}

async function collectProof(visit: SignedInVisit, waiting: WaitingLogin): Promise<Response> {
  const { parts, c, session } = visit;
  // Before the proof counts: who has a copy of the old cookie must not be there, at work, in between.
  setAccountCookie(c, await changeCookie(parts, session.id));
  await stepUp(parts, proven(visit, waiting));
  waitNoMoreFor(c, waiting.loginId);
  return c.redirect(waiting.then === "/account" ? pathWhen("proven") : waiting.then, 303);
}

/** Where somebody proves anew who they are, by any identity of the account that this broker can ask. */
export async function showProof({ parts, c, session }: SignedInVisit): Promise<Response> {
  const identities = await parts.identities.listOf(session.anchor);
  const then = returnPath(c.req.query("then"));
  const { formToken } = session;
  return c.html(provePage({ identities, ways: waysOf(parts), then, formToken, publicUrl: parts.publicUrl() }));
}

export async function startProof(visit: SignedInVisit, form: URLSearchParams): Promise<Response> {
  const { parts, session } = visit;
  const target = parseOmniAccount(form.get("identity") ?? "");
  const identity = (await parts.identities.listOf(session.anchor)).find(({ omniAccount }) => omniAccount === target);
  const way = identity && waysOf(parts).find((each) => each.proves(identity));
  if (identity === undefined || way === undefined) {
    throw new Failure(ErrorReason.IDENTITY_NOT_FOUND, "there is no such identity in this account");
  }
  return start(visit, { way, address: identity.value, purpose: "step-up", then: returnPath(form.get("then")) });
}

export function showLink(visit: SignedInVisit): Response | Promise<Response> {
  const { parts, c, session } = visit;
  refuseFrozen(visit);
  if (!isFresh(session, parts.clock(), PROOF_FOR_LINK_MS)) return c.redirect(pathToProof(c.req.path), 303);
  return c.html(linkPage(waysOf(parts), session.formToken, parts.publicUrl()));
}

export async function startLink(visit: SignedInVisit, form: URLSearchParams): Promise<Response> {
  const { parts, c, session } = visit;
  refuseFrozen(visit);
  // Asked before anybody gets a mail; what counts is asked once more when the identity is linked.
  if (!isFresh(session, parts.clock(), PROOF_FOR_LINK_MS)) return c.redirect(pathToProof("/account/link"), 303);
  return start(visit, { ...wayIn(visit, form), purpose: "link", then: "/account" });
}

/** The offer, looked at anew each time. */
export async function showMerge(visit: SignedInVisit): Promise<Response> {
  const { parts, c, session } = visit;
  return explaining(
    visit,
    async () => {
      refuseFrozen(visit);
      const waiting = heldHere(visit);
      const offer = await reviewMerge(parts, proven(visit, waiting));
      if (offer === undefined) return c.redirect(`/account/waiting/${waiting.loginId}`, 303);
      const { formToken } = session;
      return c.html(mergePage({ offer, loginId: waiting.loginId, ways: waysOf(parts), formToken }));
    },
    c.req.path,
  );
}

export async function takeUpMerge(visit: SignedInVisit, form: URLSearchParams): Promise<Response> {
  const { parts, c } = visit;
  return explaining(
    visit,
    async () => {
      refuseFrozen(visit);
      const waiting = heldHere(visit);
      // The box on the page; a form without it was not sent by a person who has read it.
      if (form.get("agreed") !== "yes") return c.redirect(c.req.path, 303);
      await mergeAccount(parts, { ...proven(visit, waiting), offerId: form.get("offer") ?? "" });
      waitNoMoreFor(c, waiting.loginId);
      return c.redirect(pathWhen("merged"), 303);
    },
    c.req.path,
  );
}

/** The sign-in is forgotten here, where alone its secrets are: nobody can take up the offer any more. */
export function refuseMerge({ c }: SignedInVisit): Response {
  waitNoMoreFor(c, c.req.param("login") ?? "");
  return c.redirect(pathWhen("apart"), 303);
}

function heldHere({ c }: Visit): WaitingLogin {
  const waiting = waitingLogin(c, c.req.param("login") ?? "");
  if (waiting === undefined) throw gone();
  return waiting;
}

function proven({ session, c }: SignedInVisit, { loginId, loginSecret }: WaitingLogin) {
  return { login: { loginId, loginSecret, dpopThumbprint: BROWSER_BINDING }, session, caller: c.env.info };
}

function ignoreEnded(error: unknown): void {
  if (error instanceof Failure && error.reason === ErrorReason.SESSION_NOT_FOUND) return;
  throw error;
}
