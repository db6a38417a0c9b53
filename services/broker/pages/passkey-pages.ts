import { html } from "hono/html";

import { isForBrowser, type Login, type LoginPurpose } from "../login/index.ts";
import { type Markup, page } from "./layout.ts";
import { confirmedPage, elsewhere, machine, tick, warnings } from "./login-pages.ts";
import { PASSKEY_SCRIPT, passkeyForm } from "./passkey-form.ts";
import { wordsOf } from "./purpose-words.ts";

export interface PasskeyReview {
  linkToken: string;
  /** Where the page is read. */
  readerAddress: string;
  publicUrl: string;
  /** Whether the browser that reads it is the one that started the sign-in. */
  startedHere: boolean;
}

/** What a sign-in with a passkey is for, and the button that runs it. */
export function passkeyReviewPage(login: Login, options: PasskeyReview): Markup {
  const { linkToken, readerAddress, publicUrl } = options;
  const { use, button, warning } = words[login.purpose];
  const forBrowser = isForBrowser(login);
  const started = new Date(login.createdAt);
  return page({
    title: "Confirm with a passkey",
    script: PASSKEY_SCRIPT,
    body: html`<div class="card">
      <h1>${wordsOf(login).question}</h1>
      <p class="code">${login.userCode}</p>
      ${forBrowser ? warnings(login, options.startedHere) : ""}
      <dl>
        <dt>For</dt>
        <dd>${forBrowser && login.purpose === "sign-in" ? "Signing a browser in to your account's page" : use}</dd>
        <dt>${forBrowser ? "Browser" : "Machine"}</dt>
        <dd>${machine(login, "not named")}</dd>
        <dt>From</dt>
        <dd>${login.sourceAddress}${readerAddress === login.sourceAddress ? "" : elsewhere(readerAddress)}</dd>
        <dt>Started</dt>
        <dd><time datetime="${started.toISOString()}">${started.toUTCString()}</time></dd>
      </dl>
      ${passkeyForm({
        options: "/login/passkey/options",
        finish: "/login/passkey/finish",
        fields: { token: linkToken },
        label: button,
        publicUrl,
        otherwise: html`Allow it for this page; or stop the command in your terminal and use a mailbox, with
          <span class="whole">--email</span>.`,
      })}
      <form class="below" method="post" action="/login/refuse">
        <input type="hidden" name="token" value="${linkToken}" />
        <button type="submit">No, this is not me</button>
      </form>
      <p class="soft">${forBrowser ? `This ${wordsOf(login).consequence}` : warning} Do it only if you started this yourself and the codes are the same.</p>
    </div>`,
  });
}

const words: Record<LoginPurpose, { use: string; button: string; warning: string }> = {
  "sign-in": {
    use: "Signing a machine in",
    button: "Yes, sign in with a passkey",
    warning: "This gives the agents on that machine short-lived AWS credentials in your name.",
  },
  link: {
    use: "Linking a new passkey to an account",
    button: "Yes, make a passkey",
    warning: "Whoever has the new passkey can sign in to the account that the machine is signed in to.",
  },
  "step-up": {
    use: "Proving anew who you are",
    button: "Yes, use my passkey",
    warning: "This lets that machine change who can sign in to your account.",
  },
};

/** What has come of it, for the browser that did it. */
export function provenPage(login: Login, startedHere: boolean): Markup {
  if (startedHere && isForBrowser(login)) return confirmedPage(login, startedHere);
  const { title, text } = outcomes[login.purpose];
  return page({
    title,
    body: html`<div class="card">
      ${tick}
      <h1>${title}</h1>
      <p>${text(machine(login, "the machine"))}</p>
      <p class="soft">You can close this page and go back to your terminal.</p>
    </div>`,
  });
}

const outcomes: Record<LoginPurpose, { title: string; text: (name: Markup | string) => Markup }> = {
  "sign-in": { title: "Signed in", text: (name) => html`Your passkey signed in ${name}.` },
  link: {
    title: "Your passkey is made",
    text: (name) => html`The account that ${name} is signed in to can take it now.`,
  },
  "step-up": { title: "That was you", text: (name) => html`Your passkey has proven it to ${name}.` },
};
