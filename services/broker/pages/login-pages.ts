import { html } from "hono/html";

import type { Login } from "../login/index.ts";
import { type Markup, page } from "./layout.ts";
import { isForBrowser } from "../login/index.ts";
import { wordsOf } from "./purpose-words.ts";

/** Where a mailed link leads. With JavaScript it goes on by itself; without, the link is pasted. */
export function linkPage(): Markup {
  return page({
    title: "Sign in",
    script: "/assets/login.js",
    body: html`<div class="card">
      <h1>Sign in to AgentKeys</h1>
      <p>Paste the link from the mail, or from your terminal, to look at the sign-in.</p>
      <form id="review" method="post" action="/login/review">
        <label for="link">Link</label>
        <input id="link" name="link" type="text" autocomplete="off" spellcheck="false" required />
        <button class="go" type="submit">Look at the sign-in</button>
      </form>
    </div>`,
  });
}

/** What a form of the page sends along: the secret of the link, or, behind a provider, which sign-in it is. */
export type FormField = readonly [name: "token" | "login", value: string];

export interface ReviewOptions {
  field: FormField;
  /** Where the page is read. */
  readerAddress: string;
  /** What the identity provider is called, where there is one. */
  providerTitle?: string;
  /** Whether the browser that reads it is the one that started the sign-in. */
  startedHere: boolean;
}

/** What is being signed in, and the two buttons. Before the provider is asked, the first one leads there. */
export function reviewPage(login: Login, options: ReviewOptions): Markup {
  const { field, readerAddress, providerTitle } = options;
  const words = wordsOf(login);
  const choice = (action: string, label: string, style: string): Markup =>
    html`<form method="post" action="/login/${action}">
      <input type="hidden" name="${field[0]}" value="${field[1]}" />
      <button class="${style}" type="submit">${label}</button>
    </form>`;
  const yes =
    login.identity === undefined
      ? choice("continue", `Yes, go on to ${providerTitle ?? "the provider"}`, "go")
      : choice("confirm", words.yes, "go");
  return page({
    title: words.title,
    body: html`<div class="card">
      <h1>${words.question}</h1>
      <p class="code">${login.userCode}</p>
      ${warnings(login, options.startedHere)}
      <dl>
        ${who(login, providerTitle)} ${signInFacts(login, readerAddress)}
      </dl>
      <div class="choices">
        ${yes} ${choice("refuse", "No, this is not me", "")}
      </div>
      <p class="soft">Yes ${words.consequence} Press it only if you started this yourself and the codes are the same.</p>
    </div>`,
  });
}

/** Which machine, from where and since when: what a person knows a sign-in of their own by. */
export function signInFacts(login: Login, readerAddress: string): Markup {
  return html`<dt>${isForBrowser(login) ? "Browser" : "Machine"}</dt>
    <dd>${machine(login, "not named")}</dd>
    <dt>From</dt>
    <dd>${login.sourceAddress}${readerAddress === login.sourceAddress ? "" : elsewhere(readerAddress)}</dd>
    <dt>Started</dt>
    <dd>
      <time datetime="${new Date(login.createdAt).toISOString()}">${new Date(login.createdAt).toUTCString()}</time>
    </dd>`;
}

function who({ method, identity }: Login, providerTitle: string | undefined): Markup {
  if (method === "email") return html`<dt>E-mail</dt><dd>${identity?.value ?? ""}</dd>`;
  const account =
    identity === undefined
      ? ""
      : html`<dt>Account there</dt>
          <dd>${accountAtProvider(identity.value)}${called(identity.displayName)}</dd>`;
  return html`<dt>Sign in with</dt><dd>${providerTitle ?? ""}</dd>${account}`;
}

/** What the account is called there: anybody's choice, so that it stands in quotes, behind what it cannot choose, and cannot turn it. */
function called(displayName: string | undefined): Markup | string {
  return displayName === undefined ? "" : html`<span class="aka">called <q><bdi>${displayName}</bdi></q></span>`;
}

/** A provider's own name for somebody, without the provider's address, which stands above it. */
function accountAtProvider(value: string): string {
  return value.slice(value.lastIndexOf("|") + 1);
}

/** On the way to the provider: a plain link that goes on by itself, since a form's answer must not lead to another site. */
export function leavingPage(url: URL, title: string): Markup {
  return page({
    title: `To ${title}`,
    goTo: url.href,
    body: html`<div class="card">
      <h1>On to ${title}</h1>
      <p>You sign in there, and come back here to confirm.</p>
      <a class="button go" href="${url.href}">Go on to ${title}</a>
    </div>`,
  });
}

/** Said where it is so: a sign-in that somebody else started is most often started somewhere else. */
export function elsewhere(readerAddress: string): Markup {
  return html`<span class="note">You read this at ${readerAddress}. Is that machine yours?</span>`;
}

/** The name may be in letters that run the other way: it must not turn the words around it. */
export function machine({ deviceName }: Login, unnamed: string): Markup | string {
  return deviceName === "" ? unnamed : html`<bdi>${deviceName}</bdi>`;
}

/** What whoever was sent this page by somebody else has to know before anything. */
export function warnings(login: Login, startedHere: boolean): Markup {
  const { warning } = wordsOf(login);
  return html`${warning === undefined ? "" : html`<p class="note">${warning}</p>`}${
    isForBrowser(login) && !startedHere ? html`<p class="note">${notThisBrowser}</p>` : ""
  }`;
}

const notThisBrowser =
  "This browser did not start it: another one did, which must be yours and show the same code. If you came here from a mail that you did not ask for, say no.";

/** The person has agreed. What was started in this very browser goes on in it. */
export function confirmedPage(login: Login, startedHere: boolean): Markup {
  const { done } = wordsOf(login);
  const here = startedHere && isForBrowser(login);
  const path = `/account/waiting/${login.loginId}`;
  return page({
    title: done.title,
    // In the one tab that went to the provider and came back; after a mail, another tab waits for it.
    ...(here && login.method !== "email" && { goTo: path }),
    body: html`<div class="card">
      ${tick}
      <h1>${done.title}</h1>
      <p>${done.text(machine(login, "The machine"), html`<bdi>${login.identity?.value ?? ""}</bdi>${called(login.identity?.displayName)}`)}</p>
      ${
        here
          ? html`<a class="button go" href="${path}">Go on to your account</a>`
          : html`<p class="soft">You can close this page and go back to ${isForBrowser(login) ? "the browser that waits for it" : "your terminal"}.</p>`
      }
    </div>`,
  });
}

export const tick = html`<svg class="tick" viewBox="0 0 24 24" aria-hidden="true">
  <circle cx="12" cy="12" r="10" />
  <path d="M7.5 12.5l3 3 6-6.5" />
</svg>`;

export function refusedPage({ method }: Pick<Login, "method">): Markup {
  const somebody =
    method === "email"
      ? "Somebody typed your address, by mistake or on purpose."
      : "If it was not you who started this, somebody sent you their own link.";
  return page({
    title: "Refused",
    body: html`<div class="card">
      <h1>Refused</h1>
      <p>Nobody was signed in, and the link no longer works.</p>
      <p class="soft">${somebody} They cannot get in without you.</p>
    </div>`,
  });
}
