import { Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { secureHeaders } from "hono/secure-headers";

import type { Logger } from "@agentkeys/lib/log";
import type { RequestInfo } from "@agentkeys/lib/rpc";
import { isLoopback } from "@agentkeys/lib/settings/kinds";

import type { OauthParts } from "../login/index.ts";
import type { DevMailbox } from "../mail/index.ts";
import type { ReportParts } from "../notices/index.ts";
import { accountPages } from "./account/index.ts";
import type { AccountPageParts } from "./account/parts.ts";
import { loginScript, waitingScript } from "./assets.ts";
import type { PageEnv } from "./forms.ts";
import { styleSource } from "./layout.ts";
import { linkPage } from "./login-pages.ts";
import { comeBack, showReturned, takeStep } from "./login-steps.ts";
import { noticeLinkPage, takeNoticeStep } from "./notice-pages.ts";
import { homePage, mailboxPage, problemPage } from "./other-pages.ts";
import { passkeyScript } from "./passkey-script.ts";
import { passkeyFinish, passkeyOptions, showProven } from "./passkey-steps.ts";
import { namesThisMachine } from "./same-origin.ts";
import { walletScript } from "./wallet-script.ts";
import { showChallenge, takeSignature, type WalletStepParts } from "./wallet-steps.ts";
import { wellKnown, type WellKnownParts } from "./well-known.ts";

export interface PagesParts {
  login: OauthParts;
  account: AccountPageParts;
  wallet: WalletStepParts["wallet"];
  notices: ReportParts;
  wellKnown: WellKnownParts;
  /** DEVELOPMENT only. */
  devMailbox?: DevMailbox;
  publicUrl: () => string;
  log: Logger;
}

/** Everything that a browser sees. A GET or HEAD changes nothing; a POST only if it comes from a page of ours. */
export function createPages(parts: PagesParts): (request: Request, info: RequestInfo) => Response | Promise<Response> {
  const app = new Hono<PageEnv>();
  app.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'none'"],
        styleSrc: [styleSource],
        imgSrc: ["data:"],
        connectSrc: ["'self'"],
        scriptSrc: ["'self'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
        baseUri: ["'none'"],
      },
      xFrameOptions: "DENY",
      // `no-referrer` would make browsers hide a form's Origin from us as well.
      referrerPolicy: "same-origin",
      strictTransportSecurity: parts.publicUrl().startsWith("https:") ? "max-age=31536000" : false,
    }),
  );
  app.use(async (c, next) => {
    await next();
    if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store");
  });
  const limited = (maxSize: number): MiddlewareHandler<PageEnv> =>
    bodyLimit({ maxSize, onError: (c) => c.html(problemPage(tooLarge), 413) });
  for (const path of ["/login/:step", "/notice/*", "/account/*"]) app.use(path, limited(8192));
  // The signature of a contract wallet alone may be as long as that.
  app.use("/login/:method/:step", limited(16_384));

  const { devMailbox } = parts;
  if (devMailbox !== undefined) {
    app.use(async (c, next) => {
      if (namesThisMachine(c.req.url) && isLoopback(c.env.info.sourceAddress)) return next();
      return c.html(problemPage(notFromHere), 403);
    });
  }

  app.get("/", (c) => c.html(homePage({ publicUrl: parts.publicUrl(), hasMailbox: devMailbox !== undefined })));
  for (const [path, script] of scripts) app.get(path, (c) => c.body(script, 200, scriptHeaders));
  app.get("/login", (c) => c.html(linkPage()));
  for (const step of ["review", "continue", "confirm", "refuse"] as const) {
    app.post(`/login/${step}`, (c) => takeStep(parts, step, c));
    // Whoever comes back to this address without the form begins again.
    app.get(`/login/${step}`, (c) => c.redirect("/login", 303));
  }
  app.post("/login/passkey/options", (c) => passkeyOptions(parts, c));
  app.post("/login/passkey/finish", (c) => passkeyFinish(parts, c));
  app.get("/login/proven/:login", (c) => showProven(parts, c));
  for (const [step, answer] of [
    ["challenge", showChallenge],
    ["verify", takeSignature],
  ] as const) {
    app.post(`/login/wallet/${step}`, (c) => answer(parts, c));
    app.get(`/login/wallet/${step}`, (c) => c.redirect("/login", 303));
  }
  app.get("/login/callback/:provider", (c) => comeBack(parts, c));
  app.get("/login/returned/:login", (c) => showReturned(parts, c));
  app.get("/notice", (c) => c.html(noticeLinkPage()));
  for (const step of ["review", "report"] as const) {
    app.post(`/notice/${step}`, (c) => takeNoticeStep(parts, step, c));
    app.get(`/notice/${step}`, (c) => c.redirect("/notice", 303));
  }
  accountPages(app, parts.account);
  wellKnown(app, parts.wellKnown);
  if (devMailbox !== undefined) app.get("/dev/mailbox", (c) => c.html(mailboxPage(devMailbox.list())));

  app.notFound((c) => {
    const verbs = verbsAt(app, c.req.path);
    if (verbs.length === 0) return c.html(problemPage(notFound), 404);
    c.header("allow", verbs.join(", "));
    return c.html(problemPage(notLikeThat), 405);
  });
  app.onError((error, c) => {
    parts.log.error({ err: error, request_id: c.env.info.requestId }, "a page failed");
    const explanation = `Our fault. The log knows it as ${c.env.info.requestId}.`;
    return c.html(problemPage({ title: "Something broke", explanation }), 500);
  });
  return (request, info) => app.fetch(request, { info });
}

const scriptHeaders = { "content-type": "text/javascript; charset=utf-8", "cache-control": "public, max-age=3600" };
const scripts = [
  ["/assets/login.js", loginScript],
  ["/assets/waiting.js", waitingScript],
  ["/assets/wallet.js", walletScript],
  ["/assets/passkey.js", passkeyScript],
] as const;

const tooLarge = { title: "Too large", explanation: "That is no link of ours." };
const notFromHere = {
  title: "Not from here",
  explanation: "A broker in development answers browsers on its own machine only.",
};
const notFound = { title: "Not found", explanation: "There is no page at this address." };
const notLikeThat = { title: "Not like that", explanation: "This page cannot be asked for in this way." };

/** What the pages at a path can be asked with, HEAD included where GET is. */
function verbsAt(app: Hono<PageEnv>, path: string): string[] {
  const verbs = app.routes.filter((route) => route.path === path && route.method !== "ALL").map(({ method }) => method);
  return [...new Set(verbs.flatMap((verb) => (verb === "GET" ? ["GET", "HEAD"] : [verb])))];
}
