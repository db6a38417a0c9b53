import { isIP } from "node:net";

import { type Context, Hono } from "hono";

import type { Inbox, Mail, MailFilter } from "./inbox.ts";
import { inboxPage, mailPage, notFoundPage } from "./pages.ts";
import { styleSource } from "./style.ts";

/** The longest that a call may wait for a mail. */
const MAX_WAIT_MS = 30_000;

const PAGE_POLICY = `default-src 'none'; style-src ${styleSource}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
/** A mail's own HTML is anybody's: it gets an origin of its own, no scripts, and nothing from the network. */
const MAIL_POLICY = `sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/**
 * The page and the JSON API:
 *
 * - `GET /api/mails?to=&after=&wait_ms=` → `{"mails": […]}`, newest first; with `wait_ms` the answer comes as soon as a
 *   mail fits, and with an empty list when the time is up
 * - `GET /api/mails/ID` → one mail
 * - `DELETE /api/mails` empties the mailbox
 * - `GET /livez`, `GET /readyz`
 */
export function createWeb(inbox: Inbox): Hono {
  const app = new Hono();

  app.use(async (context, next) => {
    if (isLocalName(context.req.header("host"))) await next();
    else context.res = context.text("Open this mailbox as localhost, by an address or by a container's name.\n", 421);
    const { headers } = context.res;
    headers.set("cache-control", "no-store");
    headers.set("referrer-policy", "no-referrer");
    headers.set("x-content-type-options", "nosniff");
    if (!headers.has("content-security-policy")) headers.set("content-security-policy", PAGE_POLICY);
  });

  for (const path of ["/livez", "/readyz"]) app.get(path, (context) => context.json({ status: "ok" }));

  app.get("/", (context) => context.html(inboxPage(inbox.list())));
  app.get("/mails/:id{[0-9]+}", (context) => {
    const mail = inbox.get(Number(context.req.param("id")));
    return mail === undefined ? context.html(notFoundPage(), 404) : context.html(mailPage(mail));
  });
  app.get("/mails/:id{[0-9]+}/html", (context) => {
    const mail = inbox.get(Number(context.req.param("id")));
    if (mail === undefined || mail.html === "") return context.html(notFoundPage(), 404);
    return context.html(mail.html, 200, { "content-security-policy": MAIL_POLICY });
  });

  app.get("/api/mails", async (context) => {
    const after = wholeNumber(context, "after");
    const waitMs = wholeNumber(context, "wait_ms");
    if (after === null) return context.json({ message: "after must be the id of a mail." }, 400);
    if (waitMs === null || (waitMs ?? 0) > MAX_WAIT_MS) {
      return context.json({ message: `wait_ms must be a whole number of milliseconds, up to ${MAX_WAIT_MS}.` }, 400);
    }
    const filter: MailFilter = { to: context.req.query("to"), after };
    if (waitMs !== undefined) {
      await inbox.wait(filter, AbortSignal.any([AbortSignal.timeout(waitMs), context.req.raw.signal]));
    }
    return context.json({ mails: inbox.list(filter).map(wire) });
  });
  app.get("/api/mails/:id{[0-9]+}", (context) => {
    const mail = inbox.get(Number(context.req.param("id")));
    return mail === undefined ? context.json({ message: "There is no such mail." }, 404) : context.json(wire(mail));
  });
  app.delete("/api/mails", (context) => {
    inbox.clear();
    return context.body(null, 204);
  });

  app.notFound((context) => context.html(notFoundPage(), 404));
  return app;
}

function wire(mail: Mail): Record<string, unknown> {
  const { receivedAt, ...rest } = mail;
  return { ...rest, received_at: new Date(receivedAt).toISOString() };
}

/** `undefined` when the parameter is not there, `null` when it is no whole number. */
function wholeNumber(context: Context, name: string): number | null | undefined {
  const text = context.req.query(name);
  if (text === undefined) return undefined;
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/**
 * Whether a Host header can only have come from someone who means this machine: an IP address, localhost, or a name
 * without a dot. A page elsewhere that points its own name here (DNS rebinding) must not read sign-in links.
 */
function isLocalName(host: string | undefined): boolean {
  const name = (host ?? "").replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return isIP(name) !== 0 || name.endsWith(".localhost") || /^[A-Za-z0-9_-]+$/.test(name);
}
