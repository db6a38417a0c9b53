import { html } from "hono/html";

import type { KeptMail } from "../mail/index.ts";
import { type Markup, page } from "./layout.ts";

export function homePage({ publicUrl, hasMailbox }: { publicUrl: string; hasMailbox: boolean }): Markup {
  return page({
    title: "Broker",
    body: html`<div class="card">
        <h1>This is an AgentKeys broker</h1>
        <p>People sign in here once; from then on the agents on their machine get short-lived AWS credentials.</p>
        <pre>
export AGENTKEYS_BROKER_URL=<wbr />${publicUrl}
agentkeys init --email you@example.com</pre
        >
        <p class="soft">A machine's sign-in starts in its terminal. The link in the mail leads back here.</p>
        <a class="button" href="/account">Look at your account</a>
      </div>
      ${
        hasMailbox
          ? html`<p class="banner after">DEVELOPMENT: mails are kept in <a href="/dev/mailbox">a mailbox here</a>.</p>`
          : ""
      }`,
  });
}

/** What went wrong, in words for a stranger. */
export interface Problem {
  title: string;
  explanation: string;
  /** What to do now. */
  hint?: string;
  /** Where to go now. */
  onward?: { href: string; text: string };
}

export function problemPage({ title, explanation, hint, onward }: Problem): Markup {
  return page({
    title,
    body: html`<div class="card">
      <h1>${title}</h1>
      <p>${explanation}</p>
      ${hint === undefined ? "" : html`<p class="soft">${hint}</p>`}
      ${onward === undefined ? "" : html`<a class="button" href="${onward.href}">${onward.text}</a>`}
    </div>`,
  });
}

/** DEVELOPMENT: every mail that the broker would have sent. */
export function mailboxPage(mails: readonly KeptMail[]): Markup {
  return page({
    title: "Development mailbox",
    wide: true,
    body: html`<p class="banner">DEVELOPMENT: no mail is sent. Anyone on this machine can read it here.</p>
      ${mails.length === 0 ? emptyMailbox() : html`<h1>Development mailbox</h1>${mails.map(keptMail)}`}`,
  });
}

function emptyMailbox(): Markup {
  return html`<div class="card">
    <h1>No mail yet</h1>
    <p>Start a sign-in with this, then <a href="/dev/mailbox">look again</a>.</p>
    <pre>agentkeys init --email you@example.com</pre>
  </div>`;
}

function keptMail({ subject, to, receivedAt, text }: KeptMail): Markup {
  const link = /https?:\/\/\S+\/(?:login|notice)#[A-Za-z0-9_-]{43}/.exec(text)?.[0];
  return html`<article class="card">
    <h2>${subject}</h2>
    <p class="soft">To ${to}, ${new Date(receivedAt).toUTCString()}</p>
    <pre>${text}</pre>
    ${link === undefined ? "" : html`<a class="button go" href="${link}">Open the link</a>`}
  </article>`;
}
