import { html, raw } from "hono/html";

import { type Mail, piecesOf } from "./inbox.ts";
import { style } from "./style.ts";

type Html = ReturnType<typeof html>;

/** Every mail there is, newest first. */
export function inboxPage(mails: readonly Mail[]): Html {
  return page(
    "Mailbox",
    mails.length === 0
      ? html`<p>No mail yet. Reload this page after something was sent.</p>`
      : html`<ul class="rows mails">
          ${mails.map(
            (mail) =>
              html`<li>
                <a href="/mails/${mail.id}">
                  <strong>${subjectOf(mail)}</strong>
                  <span class="soft">To ${mail.to.join(", ")}, ${time(mail)}</span>
                </a>
              </li>`,
          )}
        </ul>`,
  );
}

/** One mail: its text part, with the addresses in it as links. */
export function mailPage(mail: Mail): Html {
  return page(
    subjectOf(mail),
    html`<dl>
        <dt>From</dt>
        <dd>${mail.from}</dd>
        <dt>To</dt>
        <dd>${mail.to.join(", ")}</dd>
        <dt>Received</dt>
        <dd>${time(mail)}</dd>
      </dl>
      <pre>${piecesOf(mail.text).map((piece) => (piece.link ? linkTo(piece.text) : piece.text))}</pre>
      <p>
        ${mail.html === "" ? "" : html`<a href="/mails/${mail.id}/html">The HTML part</a> · `}<a href="/">All mails</a>
      </p>`,
  );
}

export function notFoundPage(): Html {
  return page("Nothing here", html`<p>There is no such page or mail. <a href="/">All mails</a></p>`);
}

function linkTo(address: string): Html {
  return html`<a href="${address}" rel="noopener noreferrer">${address}</a>`;
}

function subjectOf(mail: Mail): string {
  return mail.subject === "" ? "(no subject)" : mail.subject;
}

function time(mail: Mail): Html {
  const at = new Date(mail.receivedAt).toISOString();
  return html`<time datetime="${at}">${at.slice(0, 19).replace("T", " ")} UTC</time>`;
}

function page(title: string, content: Html): Html {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · development mailbox</title>
        ${raw(`<style>${style}</style>`)}
      </head>
      <body class="wide">
        <header>
          <a href="/"
            ><svg viewBox="0 0 24 24" aria-hidden="true">
              <circle cx="8" cy="12" r="4.5" />
              <path d="M12.5 12H21v4M17 12v3" /></svg
            >AgentKeys mailbox</a
          >
        </header>
        <main>
          <p class="banner">
            DEVELOPMENT: this mailbox keeps every mail, shows it to anyone who can open this page, and sends nothing on.
          </p>
          <div class="card">
            <h1>${title}</h1>
            ${content}
          </div>
        </main>
        <footer>This page loads nothing from anywhere else.</footer>
      </body>
    </html>`;
}
