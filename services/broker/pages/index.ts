import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { secureHeaders } from "hono/secure-headers";

import { ErrorReason, Failure } from "@agentkeys/lib/failure";
import type { Logger } from "@agentkeys/lib/log";
import type { RequestInfo } from "@agentkeys/lib/rpc";
import { isLoopback } from "@agentkeys/lib/settings/kinds";

import { decideLogin, type LoginParts, reviewLogin } from "../login/index.ts";
import type { DevMailbox } from "../mail/index.ts";
import { loginScript, styleSheet } from "./assets.ts";
import { confirmedPage, linkPage, refusedPage, reviewPage } from "./login-pages.ts";
import { homePage, mailboxPage, problemPage } from "./other-pages.ts";
import { fromOwnPage, namesThisMachine } from "./same-origin.ts";
import { wellKnown, type WellKnownParts } from "./well-known.ts";

export interface PagesParts {
  login: LoginParts;
  wellKnown: WellKnownParts;
  /** DEVELOPMENT only. */
  devMailbox?: DevMailbox;
  publicUrl: () => string;
  log: Logger;
}

type Env = { Bindings: { info: RequestInfo } };

/** Everything that a browser sees. A GET or HEAD changes nothing; a POST only if it comes from a page of ours. */
export function createPages(parts: PagesParts): (request: Request, info: RequestInfo) => Response | Promise<Response> {
  const app = new Hono<Env>();
  app.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'none'"],
        styleSrc: ["'self'"],
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
  app.use(
    "/login/*",
    bodyLimit({ maxSize: 8192, onError: (c) => c.html(problemPage("Too large", "That is no link of ours."), 413) }),
  );

  const { devMailbox } = parts;
  if (devMailbox !== undefined) {
    app.use(async (c, next) => {
      if (namesThisMachine(c.req.url) && isLoopback(c.env.info.sourceAddress)) return next();
      return c.html(
        problemPage("Not from here", "A broker in development answers browsers on its own machine only."),
        403,
      );
    });
  }

  app.get("/", (c) => c.html(homePage(parts.publicUrl())));
  app.get("/assets/style.css", (c) =>
    c.body(styleSheet, 200, { "content-type": "text/css; charset=utf-8", ...cached }),
  );
  app.get("/assets/login.js", (c) =>
    c.body(loginScript, 200, { "content-type": "text/javascript; charset=utf-8", ...cached }),
  );
  app.get("/login", (c) => c.html(linkPage()));
  app.post("/login/:step{review|confirm|refuse}", (c) => step(parts, c));
  app.on(["GET"], ["/login/review", "/login/confirm", "/login/refuse"], (c) => c.redirect("/login", 303));
  wellKnown(app, parts.wellKnown);
  if (devMailbox !== undefined) app.get("/dev/mailbox", (c) => c.html(mailboxPage(devMailbox.list())));

  app.notFound((c) => c.html(problemPage("Not found", "There is no page at this address."), 404));
  app.onError((error, c) => {
    parts.log.error({ err: error, request_id: c.env.info.requestId }, "a page failed");
    return c.html(problemPage("Something broke", `Our fault. The log knows it as ${c.env.info.requestId}.`), 500);
  });
  return (request, info) => app.fetch(request, { info });
}

const cached = { "cache-control": "public, max-age=3600" };

async function step(parts: PagesParts, c: Context<Env>): Promise<Response> {
  if (!fromOwnPage(c.req.raw.headers, parts.publicUrl())) {
    return c.html(
      problemPage("Not from here", "This form was sent by a page that is not ours. Open the link from your mail."),
      403,
    );
  }
  const form = await c.req.parseBody();
  const token = tokenIn(form["token"] ?? form["link"]);
  const caller = c.env.info;
  try {
    if (token === undefined) throw new Failure(ErrorReason.LOGIN_NOT_FOUND, "that is not a sign-in link");
    if (c.req.param("step") === "review")
      return await c.html(reviewPage(await reviewLogin(parts.login, token, caller), token));
    if (c.req.param("step") === "confirm")
      return await c.html(confirmedPage(await decideLogin(parts.login, "confirm", token, caller)));
    await decideLogin(parts.login, "refuse", token, caller);
    return await c.html(refusedPage());
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { title, status } = problems.get(error.reason) ?? { title: "Not now", status: 503 as const };
    const retryAfter = error.details.retryAfterMs;
    if (retryAfter !== undefined) c.header("retry-after", String(Math.ceil(retryAfter / 1000)));
    return c.html(problemPage(title, sentence(error.message)), status);
  }
}

const problems = new Map<ErrorReason, { title: string; status: 404 | 410 | 429 }>([
  [ErrorReason.LOGIN_NOT_FOUND, { title: "This link does not work", status: 404 }],
  [ErrorReason.LOGIN_EXPIRED, { title: "This link has expired", status: 410 }],
  [ErrorReason.LOGIN_REFUSED, { title: "This sign-in was refused", status: 410 }],
  [ErrorReason.RATE_LIMITED, { title: "Too many tries", status: 429 }],
]);

/** The secret in a pasted link, or the bare secret. */
function tokenIn(field: unknown): string | undefined {
  return typeof field === "string" ? /^(?:\S*#)?([A-Za-z0-9_-]{43})$/.exec(field.trim())?.[1] : undefined;
}

function sentence(message: string): string {
  return message.charAt(0).toUpperCase() + message.slice(1) + ".";
}
