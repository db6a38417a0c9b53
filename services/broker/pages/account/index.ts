import type { Context, Hono } from "hono";

import { revokeSession } from "../../token/index.ts";
import type { PageEnv } from "../forms.ts";
import { clearAccountCookie } from "./account-cookie.ts";
import { actions, ask, perform } from "./actions.ts";
import { pathWhen } from "./banners.ts";
import {
  collect,
  refuseMerge,
  showLink,
  showMerge,
  showProof,
  showWaiting,
  start,
  startLink,
  startProof,
  takeUpMerge,
  tellState,
  wayIn,
} from "./ceremonies.ts";
import {
  comingFromElsewhere,
  explaining,
  knockAgain,
  sessionOf,
  showTo,
  type SignedInVisit,
  takeForm,
  takeFormOf,
} from "./door.ts";
import { eventsPage, historyOf } from "./events-page.ts";
import { overviewPage } from "./overview-page.ts";
import type { AccountPageParts } from "./parts.ts";
import { addByPress, type PasskeyPress, proveByPress, takePress } from "./passkey-press.ts";
import { signInPage } from "./sign-in-page.ts";
import { waitOnlyFor } from "./waiting-cookie.ts";
import { waysOf } from "./ways.ts";

/** How many events stand on the account's page, and on each page of its history. */
const [RECENT, PAGE] = [8, 25];

/** The account's pages. Every GET changes nothing; every POST has to come from a page of ours, and most from one of this session's. */
export function accountPages(app: Hono<PageEnv>, parts: AccountPageParts): void {
  const visit = (c: Context<PageEnv>) => ({ parts, c });
  const form = (path: string, answer: (visit: SignedInVisit, form: URLSearchParams) => Promise<Response>): void => {
    app.post(path, (c) => takeFormOf(visit(c), answer));
  };

  app.get("/account", (c) => explaining(visit(c), () => showAccount(parts, c)));
  app.get("/account/events", (c) =>
    showTo(visit(c), async ({ session }) => {
      const { before = "" } = c.req.query();
      const cursor = /^\d{1,15}$/.test(before) ? Number(before) : undefined;
      const history = await historyOf(parts.audit, session, PAGE, cursor);
      const identities = await parts.identities.listOf(session.anchor);
      return c.html(eventsPage(history, { identities, ways: waysOf(parts) }));
    }),
  );

  app.post("/account/sign-in", (c) =>
    takeForm(visit(c), (sent) => start(visit(c), { ...wayIn(visit(c), sent), purpose: "sign-in", then: "/account" })),
  );
  app.get("/account/waiting/:login", (c) => showWaiting(visit(c)));
  app.get("/account/waiting/:login/state", (c) => tellState(visit(c)));
  app.post("/account/collect", (c) => takeForm(visit(c), (sent) => collect(visit(c), sent)));
  form("/account/sign-out", async ({ session, c }) => {
    await revokeSession(parts, session.id, session, c.env.info);
    clearAccountCookie(c);
    waitOnlyFor(c, []);
    return c.redirect(pathWhen("signed-out"), 303);
  });

  const press = (path: string, { options, finish }: PasskeyPress): void => {
    app.post(`${path}/passkey/options`, (c) => takePress(visit(c), options));
    app.post(`${path}/passkey/finish`, (c) => takePress(visit(c), finish));
  };

  app.get("/account/prove", (c) => showTo(visit(c), showProof));
  form("/account/prove", startProof);
  press("/account/prove", proveByPress);
  app.get("/account/link", (c) => showTo(visit(c), async (signedIn) => showLink(signedIn)));
  form("/account/link", startLink);
  press("/account/link", addByPress);
  app.get("/account/merge/:login", (c) => showTo(visit(c), showMerge));
  form("/account/merge/:login", takeUpMerge);
  form("/account/merge/:login/refuse", async (signedIn) => Promise.resolve(refuseMerge(signedIn)));
  for (const action of actions) {
    app.get(action.path, (c) => showTo(visit(c), (signedIn) => ask(action, signedIn)));
    form(action.path, (signedIn) => perform(action, signedIn));
  }
  // Whoever comes back to one of these without the form begins again.
  for (const path of ["sign-in", "collect", "sign-out", "merge/:login/refuse"]) {
    app.get(`/account/${path}`, (c) => c.redirect("/account", 303));
  }
}

async function showAccount(parts: AccountPageParts, c: Context<PageEnv>): Promise<Response> {
  const done = c.req.query("done");
  const ways = waysOf(parts);
  const session = await sessionOf({ parts, c });
  if (session === undefined) {
    return comingFromElsewhere({ parts, c }) ? knockAgain({ parts, c }) : c.html(signInPage(ways, done));
  }
  const { anchor } = session;
  const [identities, wallets, sessions, history] = await Promise.all([
    parts.identities.listOf(anchor),
    parts.wallets.listOf(anchor),
    parts.sessions.listLive(anchor, parts.clock()),
    historyOf(parts.audit, session, RECENT),
  ]);
  return c.html(overviewPage({ session, identities, wallets, sessions, ...history, ways, done }));
}
