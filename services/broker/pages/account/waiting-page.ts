import { html } from "hono/html";

import type { Login } from "../../login/index.ts";
import { type Markup, page } from "../layout.ts";
import { hidden } from "./method-form.ts";
import { shown } from "./shown.ts";
import type { WaitingLogin } from "./waiting-cookie.ts";
import type { Way } from "./ways.ts";

/** How often a browser without scripts asks, in seconds. */
const ASK_EVERY = 4;

const goals: Record<Login["purpose"], string> = {
  "sign-in": "Sign in",
  link: "Link an identity",
  "step-up": "Show that it is you",
};

/** What this browser shows while a person confirms elsewhere, or goes on from here to a provider. */
export function waitingPage(login: Login, { linkToken }: WaitingLogin, way: Way): Markup {
  const title = goals[login.purpose];
  if (way.goesOnAt === undefined) {
    return page({
      title,
      script: "/assets/waiting.js",
      askAgainAfter: ASK_EVERY,
      body: html`<div class="card">
        <h1>Open the mail</h1>
        <p>A link was sent to ${shown(login.identity?.value ?? "")}. Open it, here or on any other device.</p>
        <p>The page behind it shows this code. Press its button only if it does:</p>
        <p class="code">${login.userCode}</p>
        <p class="soft" role="status">This page goes on by itself once you have pressed the button there.</p>
        <p class="soft"><a href="/account">Start again</a>, if no mail comes.</p>
      </div>`,
    });
  }
  return page({
    title,
    body: html`<div class="card">
      <h1>On to ${way.title}</h1>
      <p>
        ${
          way.elsewhere === true
            ? "You sign in there and come back to this broker, which shows this code again before anything happens:"
            : "The next page shows this code again before anything happens:"
        }
      </p>
      <p class="code">${login.userCode}</p>
      <form method="post" action="${way.goesOnAt}">
        ${hidden("token", linkToken)}
        <button class="go" type="submit">Go on to ${way.title}</button>
      </form>
      <p class="soft after"><a href="/account">Start again</a> another way.</p>
    </div>`,
  });
}

/** The person has confirmed: the press (or the script's) that takes it up. A GET takes up nothing. */
export function confirmedHerePage(login: Login, formToken: string): Markup {
  return page({
    title: goals[login.purpose],
    script: "/assets/waiting.js",
    body: html`<div class="card">
      <h1>Confirmed</h1>
      <p>You have confirmed it as ${shown(login.identity?.value ?? "")}.</p>
      <form id="collect" method="post" action="/account/collect">
        ${hidden("login", login.loginId)} ${formToken === "" ? "" : hidden("form", formToken)}
        <button class="go" type="submit">Go on</button>
      </form>
    </div>`,
  });
}
