import type { Context } from "hono";
import { html } from "hono/html";

import { type Notice, type ReportParts, reportNotice, reviewNotice } from "../notices/index.ts";
import type { PageEnv } from "./forms.ts";
import { type Markup, page } from "./layout.ts";
import { answerForm, noLink, tokenIn } from "./login-steps.ts";

/** Where the link of a notice leads; as the sign-in's, it changes nothing by being opened. */
export function noticeLinkPage(): Markup {
  return page({
    title: "Was this you?",
    script: "/assets/login.js",
    body: html`<div class="card">
      <h1>Was this you?</h1>
      <p>Paste the link from the mail here to see what happened.</p>
      <form id="review" method="post" action="/notice/review">
        <label for="link">Link from the mail</label>
        <input id="link" name="link" type="text" autocomplete="off" spellcheck="false" required />
        <button class="go" type="submit">See what happened</button>
      </form>
    </div>`,
  });
}

/** Answers a form of the notice's pages. Only `report` changes anything. */
export async function takeNoticeStep(
  parts: { notices: ReportParts; publicUrl: () => string },
  step: "review" | "report",
  c: Context<PageEnv>,
): Promise<Response> {
  return answerForm(parts, c, async (form) => {
    const token = tokenIn(form);
    if (token === undefined) throw noLink();
    if (step === "review") return c.html(whatHappened(await reviewNotice(parts.notices, token, c.env.info), token));
    await reportNotice(parts.notices, token, c.env.info);
    return c.html(frozenPage());
  });
}

const titles: Record<Notice["kind"], string> = {
  machine: "A new machine signed in",
  linked: "An identity was linked",
  unlinked: "An identity was taken off",
  merged: "Two accounts were merged",
  frozen: "The account was frozen",
  unfrozen: "The account works again",
};

function whatHappened({ kind, subject, sourceAddress, occurredAt, recipientEmail }: Notice, token: string): Markup {
  const when = new Date(occurredAt);
  return page({
    title: titles[kind],
    body: html`<div class="card">
      <h1>${titles[kind]}</h1>
      <dl>
        <dt>Account of</dt>
        <dd>${recipientEmail}</dd>
        <dt>What</dt>
        <dd><bdi>${subject === "" ? "not named" : subject}</bdi></dd>
        <dt>From</dt>
        <dd>${sourceAddress}</dd>
        <dt>When</dt>
        <dd><time datetime="${when.toISOString()}">${when.toUTCString()}</time></dd>
      </dl>
      <div class="choices">
      <form method="post" action="/notice/report">
        <input type="hidden" name="token" value="${token}" />
        <button class="stop" type="submit">This was not me: stop everything</button>
      </form>
      </div>
      <p class="soft">
        That signs out every machine at once and freezes the account until its owner has signed in and looked at it. If it was
        you, close this page.
      </p>
    </div>`,
  });
}

function frozenPage(): Markup {
  return page({
    title: "Stopped",
    body: html`<div class="card">
      <h1>Everything is stopped</h1>
      <p>Every machine is signed out, and the account is frozen: nobody gets credentials from it.</p>
      <p>Sign in to look at what happened, take off whatever is not yours, and only then put it back to work.</p>
      <a class="button go" href="/account">Look at your account</a>
      <p class="soft after">Or in a terminal:</p>
      <pre>
agentkeys init
agentkeys events
agentkeys identities
agentkeys unlink IDENTITY
agentkeys unfreeze</pre
      >
    </div>`,
  });
}
