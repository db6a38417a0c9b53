import { html } from "hono/html";

import { type Markup, page } from "../layout.ts";
import { doneBanner } from "./banners.ts";
import { methodForms } from "./method-form.ts";
import type { Way } from "./ways.ts";

export function signInPage(ways: readonly Way[], done: string | undefined): Markup {
  return page({
    title: "Sign in",
    body: html`${doneBanner(done)}
      <div class="card">
        <h1>Your account</h1>
        <p>See what acts in your name, and stop it: the machines that are signed in, your wallets, all that happened.</p>
        ${methodForms("/account/sign-in", ways)}
        <p class="soft after">
          This signs in this browser, to look and to stop things. Machines sign in from their terminal.
        </p>
      </div>`,
  });
}
