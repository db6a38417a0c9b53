import { html } from "hono/html";

import type { KeptMail } from "../mail/index.ts";
import { type Markup, page } from "./layout.ts";

export function homePage(publicUrl: string): Markup {
  return page({
    title: "Broker",
    body: html`<div class="card">
      <h1>This is an AgentKeys broker</h1>
      <p>People sign in here once; from then on the agents on their machine get short-lived AWS credentials.</p>
      <pre>AGENTKEYS_BROKER_URL=${publicUrl} agentkeys init</pre>
      <p class="soft">Nothing to do on this page: signing in starts in your terminal.</p>
    </div>`,
  });
}

export function problemPage(title: string, explanation: string): Markup {
  return page({
    title,
    body: html`<div class="card">
      <h1>${title}</h1>
      <p>${explanation}</p>
      <p class="soft">To start again, run <code>agentkeys init</code> in your terminal.</p>
    </div>`,
  });
}

/** DEVELOPMENT: every mail that the broker would have sent. */
export function mailboxPage(mails: readonly KeptMail[]): Markup {
  return page({
    title: "Development mailbox",
    wide: true,
    body: html`<p class="banner">DEVELOPMENT: no mail is sent. Anyone on this machine can read it here.</p>
      ${
        mails.length === 0
          ? html`<div class="card">
              <h1>No mail yet</h1>
              <p>
                Start a sign-in with <code>agentkeys init --email you@example.com</code>, then
                <a href="/dev/mailbox">look again</a>.
              </p>
            </div>`
          : mails.map(
              (mail) =>
                html`<article class="card">
                  <h2>${mail.subject}</h2>
                  <p class="soft">To ${mail.to}, ${new Date(mail.receivedAt).toUTCString()}</p>
                  <pre>${mail.text}</pre>
                  ${linkOf(mail)}
                </article>`,
            )
      }`,
  });
}

function linkOf({ text }: KeptMail): Markup | string {
  const link = /https?:\/\/\S+\/login#[A-Za-z0-9_-]{43}/.exec(text)?.[0];
  return link === undefined ? "" : html`<a class="button go" href="${link}">Open the link</a>`;
}
